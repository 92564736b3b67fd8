# Small classifiers on digits, for the accuracy study. All values ours.
_base_ = [
    '../../configs/_base_/datasets/digits_48x48.py',
    '../../configs/_base_/default_runtime_classification.py',
]
iterations = 400
model = dict(
    type='ImageClassifier',
    backbone=dict(),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=0,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=40),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=False, begin=40),
]
train_cfg = dict(by_epoch=False, max_iters=iterations, val_interval=iterations)
val_cfg = dict()
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(interval=100, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=1000000, save_last=False, save_best=None),
)
