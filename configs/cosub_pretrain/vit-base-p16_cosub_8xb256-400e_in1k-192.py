# ViT-B on ImageNet-1k at 192 pixels, 400 epochs.
#
# Published (DeiT III, which cosub builds on). Ours: the drop-path rate.
_base_ = [
    '../_base_/models/vit_classifier.py',
    '../_base_/datasets/imagenet_3augment_192.py',
    '../_base_/schedules/lamb_3e-3_400e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(arch='base', img_size=192, layer_cfgs=dict(drop_path_rate=0.1)),
    head=dict(in_channels=768),
)
