# AdamW whose learning rate falls from layer to layer towards the input, as in
# MMSegmentation's configs of ConvNeXt and MAE: `num_layers` and `decay_rate` are the
# network's. Vectors are not decayed.
_base_ = ['adamw_160k.py']
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LearningRateDecayOptimizerConstructor',
)
