# ViT-S on ImageNet-1k at 224 pixels, 800 epochs.
#
# Published (DeiT III, which cosub builds on).
_base_ = [
    '../_base_/models/vit_classifier.py',
    '../_base_/datasets/imagenet_3augment.py',
    '../_base_/schedules/lamb_4e-3_800e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
