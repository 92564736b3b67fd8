# RegNetY-16GF on ImageNet-21k at 224 pixels, 90 epochs.
#
# Published: the recipe, of ViT (DeiT III). Ours: that this architecture has it, its
# drop-path rate, 90 epochs and cosub in its CE form.
_base_ = [
    '../_base_/models/regnety_classifier_softmax.py',
    '../_base_/datasets/imagenet21k_3augment.py',
    '../_base_/schedules/lamb_1e-3_90e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(drop_path_rate=0.1),
    head=dict(num_classes=_base_.num_classes),
    train_cfg=_base_.cutmix,
)
