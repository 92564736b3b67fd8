# The demo's ViT, pretrained by cosub on digits. All values ours.
_base_ = './swin-mini_cosub_1xb32-10e_digits-32x32.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=32,
        patch_size=4,
        layer_cfgs=dict(drop_path_rate=0.05),  # constant over depth
        out_type='avg_featmap',
    ),
    neck=None,
    head=dict(in_channels=128),
)
