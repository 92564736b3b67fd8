# LAMB on batches of 2048 images, with warm-up and a cosine decay. The files over it are
# its parameters: learning rate, weight decay and number of epochs.
#
# Published (DeiT III): the optimizer (it clips the gradient's norm at 1 by itself), and
# that biases, norms, other vectors (LayerScale), the class token and position embeddings
# are not decayed. Ours: neither are the position tables of Swin nor what is instead of
# them in SwinV2, as in their own recipes; steps every iteration, not every epoch; and a
# cosine that begins behind the warm-up, not below it.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='mmpretrain.Lamb', eps=1e-8),
    paramwise_cfg=dict(
        bias_decay_mult=0.0,
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            '.cls_token': dict(decay_mult=0.0),
            '.pos_embed': dict(decay_mult=0.0),
            '.relative_position_bias_table': dict(decay_mult=0.0),
            '.cpb_mlp': dict(decay_mult=0.0),
            '.logit_scale': dict(decay_mult=0.0),
        },
    ),
)
param_scheduler = [
    # From 1e-6: the files over it set the start_factor, which is relative.
    dict(type='LinearLR', by_epoch=True, end=5, convert_to_iter_based=True),
    # Until the end of the run, however long it is.
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        by_epoch=True,
        begin=5,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, val_interval=5)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=2048)
