# timm's PiT-B, a classifier as a whole.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='TimmClassifier',
    model_name='pit_b_224',
    num_classes=1000,
    drop_path_rate=0.2,  # last block's; the others' rise to it linearly
    loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
