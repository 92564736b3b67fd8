# MMPretrain's Swin, tiny, as a classifier.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch='tiny',
        img_size=224,
        window_size=7,
        drop_path_rate=0.2,  # last block's; the others' rise to it linearly
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        init_cfg=None,  # by the model's, below
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
    init_cfg=[
        dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
        dict(type='Constant', layer='LayerNorm', val=1.0, bias=0.0),
    ],
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
