# ViT-L on ImageNet-1k at 192 pixels, 800 epochs.
#
# Published (DeiT III, which cosub builds on).
_base_ = [
    '../_base_/models/vit_classifier.py',
    '../_base_/datasets/imagenet_3augment_192.py',
    '../_base_/schedules/lamb_3e-3_800e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(arch='large', img_size=192, layer_cfgs=dict(drop_path_rate=0.45)),
    head=dict(in_channels=1024),
)
train_dataloader = dict(batch_size=64)
