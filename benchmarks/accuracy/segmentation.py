# Small segmentors on digit scenes, for the accuracy study. All values ours.
_base_ = ['../../configs/digit_scenes/swin-mini_upernet_1xb8-2k_digit-scenes-64x64.py']
model = dict(
    backbone=dict(_delete_=True),
    decode_head=dict(channels=32),
    auxiliary_head=dict(channels=16),
)
train_dataloader = dict(dataset=dict(serialize_data=False))
val_dataloader = dict(batch_size=25, dataset=dict(serialize_data=False))
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=40, by_epoch=False),
]
optim_wrapper = dict(
    # One kernel for all weights: so small a network spends a sixth of a step on AdamW.
    optimizer=dict(lr=2e-3, fused=True),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=1.0))),
)
default_hooks = dict(
    logger=dict(interval=100), checkpoint=dict(interval=1000000, save_last=False)
)
