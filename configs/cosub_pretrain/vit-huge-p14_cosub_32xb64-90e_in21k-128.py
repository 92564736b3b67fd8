# ViT-H/14 on ImageNet-21k at 128 pixels, 90 epochs.
#
# Published (DeiT III). Ours: cosub in its CE form (in the authors' code it is in the
# BCE form always).
_base_ = [
    '../_base_/models/vit-huge_classifier_softmax.py',
    '../_base_/datasets/imagenet21k_3augment_128.py',
    '../_base_/schedules/lamb_1e-3_90e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(img_size=128, layer_cfgs=dict(drop_path_rate=0.5)),
    head=dict(num_classes=_base_.num_classes),
    train_cfg=_base_.cutmix,
)
