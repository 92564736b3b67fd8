# The same, medium.
#
# Published: the architecture (DeiT III's authors). Ours: the drop-path rate.
_base_ = './vit_classifier.py'
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=512,
            num_layers=12,
            num_heads=8,
            feedforward_channels=2048,
        ),
        layer_cfgs=dict(drop_path_rate=0.1),
    ),
    head=dict(in_channels=512),
)
