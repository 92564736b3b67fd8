# MMPretrain's ConvNeXt, tiny, as a classifier.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        drop_path_rate=0.1,  # last block's; the others' rise to it linearly
    ),
    neck=None,  # it pools before its last norm
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        init_cfg=None,  # by the model's, below
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
    init_cfg=dict(type='TruncNormal', layer=['Conv2d', 'Linear'], std=0.02, bias=0.0),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
