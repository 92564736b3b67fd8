# The demo's ViT, pretrained by cosub on digits. All values ours. In the softmax form: with
# the binary one it hardly leaves chance in so few iterations.
_base_ = './swin-mini_cosub_1xb32-10e_digits-48x48.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.VisionTransformer',
        arch=dict(embed_dims=128, num_layers=4, num_heads=4, feedforward_channels=512),
        img_size=48,
        patch_size=8,
        layer_cfgs=dict(drop_path_rate=0.05),  # constant over depth
        out_type='avg_featmap',
    ),
    neck=None,
    head=dict(in_channels=128, loss=dict(_delete_=True, type='CrossEntropyLoss')),
)
scheme = dict(loss='ce')
