# ViT-M on ImageNet-21k at 224 pixels, 90 epochs.
#
# Published: the architecture, and what all sizes share (DeiT III). Ours: the drop-path
# rate, 90 epochs and cosub in its CE form.
_base_ = [
    '../_base_/models/vit-medium_classifier_softmax.py',
    '../_base_/datasets/imagenet21k_3augment.py',
    '../_base_/schedules/lamb_1e-3_90e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(head=dict(num_classes=_base_.num_classes), train_cfg=_base_.cutmix)
train_dataloader = dict(batch_size=128)
