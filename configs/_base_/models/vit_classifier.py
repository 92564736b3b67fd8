# MMPretrain's ViT in the form of DeiT III (LayerScale), small, as a classifier. It is not
# MMPretrain's DeiT3, whose layers never use their second norm.
#
# Published (DeiT III; its rate for 800 epochs). MMPretrain's instead: the class token has
# a position, too, and begins at 0, and feed-forward layers begin by Xavier's rule.
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='deit-small',
        img_size=224,
        patch_size=16,
        layer_scale_init_value=1e-4,
        layer_cfgs=dict(drop_path_rate=0.05),  # constant over depth
    ),
    neck=None,
    head=dict(
        type='VisionTransformerClsHead',
        num_classes=1000,
        in_channels=384,
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
