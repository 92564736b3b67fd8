# ViT-M on ImageNet-1k at 224 pixels, 400 epochs.
#
# Published: the architecture, and what all sizes share. Ours: learning rate, resolution
# and drop-path rate.
_base_ = [
    '../_base_/models/vit-medium_classifier.py',
    '../_base_/datasets/imagenet_3augment.py',
    '../_base_/schedules/lamb_4e-3_400e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
