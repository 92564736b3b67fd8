# ViT-M on ImageNet-21k at 224 pixels, 90 epochs.
#
# Published: the architecture, and what all sizes share (DeiT III). Ours: the drop-path
# rate, 90 epochs and cosub in its CE form.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet21k_3augment.py',
    '../_base_/schedules/lamb_1e-3_90e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
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
    head=dict(num_classes=21841, in_channels=512),
    train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)]),
)
train_dataloader = dict(batch_size=128)
