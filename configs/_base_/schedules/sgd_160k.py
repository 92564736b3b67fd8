# SGD with polynomial decay over 160k iterations, as in MMSegmentation's configs of ResNet.
_base_ = ['adamw_160k.py']
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    # Until the end of the run, however long it is.
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, by_epoch=False),
]
