# timm's RegNetY-16GF as a classifier. MMPretrain's own RegNet is RegNetX and has no drop
# path.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.TIMMBackbone',
        model_name='regnety_160',
        drop_path_rate=0.2,  # last block's; the others' rise to it linearly
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=3024,
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
