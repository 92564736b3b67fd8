# ViT-S on ImageNet-1k at 224 pixels, 400 epochs.
#
# Published: the recipe, of ViT (DeiT III). Ours: this method over it, and its
# binary form.
_base_ = [
    '../_base_/models/vit_classifier.py',
    '../_base_/datasets/imagenet_3augment.py',
    '../_base_/schedules/lamb_4e-3_400e.py',
    '../_base_/schemes/stimulative.py',
    '../_base_/default_runtime_classification.py',
]
