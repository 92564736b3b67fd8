# ViT-M on ImageNet-1k at 224 pixels, 400 epochs.
#
# Published: the architecture, and what all sizes share. Ours: learning rate, resolution
# and drop-path rate.
_base_ = [
    '../_base_/models/vit_classifier.py',
    '../_base_/datasets/imagenet_3augment.py',
    '../_base_/schedules/lamb_4e-3_400e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
scheme = dict(loss='bce')
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
