# MMPretrain's ResNet-50 as a classifier.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=50,
        drop_path_rate=0.05,  # last block's; the others' rise to it linearly
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=2048,
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
