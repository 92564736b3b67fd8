# MMPretrain's XCiT-S12/16 as a classifier.
#
# Published: label loss, mixup and cutmix (DeiT III). Ours: the drop-path rate.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.XCiT',
        img_size=224,
        patch_size=16,
        embed_dims=384,
        depth=12,
        num_heads=8,
        layer_scale_init_value=1.0,
        tokens_norm=True,
        drop_path_rate=0.05,  # constant over depth, none in class attention
        # Its own default is a standard deviation of 1.
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02, bias=0.0),
    ),
    neck=None,
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=384,
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
