# The demo's ViT, pretrained by cosub on digits. All values ours.
_base_ = './swin-mini_cosub_1xb64-20e_digits-48x48.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        layer_cfgs=dict(drop_path_rate=0.1),  # constant over depth
    ),
    neck=None,
    head=dict(
        _delete_=True,
        type='VisionTransformerClsHead',
        num_classes=10,
        in_channels=128,
        loss=dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0),
    ),
)
