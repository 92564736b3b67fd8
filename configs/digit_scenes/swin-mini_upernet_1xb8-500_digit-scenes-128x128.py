# The demo's: a Swin small enough for a CPU, from scratch, on digit scenes.
_base_ = [
    '../_base_/models/upernet_swin.py',
    '../_base_/datasets/digit_scenes_128x128.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/default_runtime.py',
]
iterations = 500
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=32,
            depths=[2, 2, 4, 2],
            num_heads=[1, 2, 4, 8],
        ),
        img_size=128,
        window_size=4,
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        in_channels=[32, 64, 128, 256], channels=64, num_classes=11, norm_cfg=norm_cfg
    ),
    auxiliary_head=dict(
        in_channels=128, channels=32, num_classes=11, norm_cfg=norm_cfg
    ),
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR',
        eta_min=0.0,
        power=1.0,
        begin=50,
        end=iterations,
        by_epoch=False,
    ),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations)
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(interval=iterations, save_best=None),
)
randomness = dict(seed=0)
