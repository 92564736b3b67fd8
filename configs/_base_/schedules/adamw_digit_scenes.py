# The 160k schedule, scaled to the small networks on digit scenes.
_base_ = './adamw_160k.py'
iterations = 2000
# One rate for backbone and heads: in so short a training a backbone of a lower one stays
# behind, pretrained or not.
optim_wrapper = dict(optimizer=dict(lr=2e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    # Until the end of the run, however long it is.
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=100, by_epoch=False),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=iterations, save_best=None),
)
randomness = dict(seed=0)
