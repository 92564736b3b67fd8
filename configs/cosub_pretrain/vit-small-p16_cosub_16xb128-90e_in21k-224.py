# ViT-S on ImageNet-21k at 224 pixels, 90 epochs.
#
# Published (DeiT III). Ours: 90 epochs (there 240), and cosub in its CE form (in the
# authors' code it is in the BCE form always).
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet21k_3augment.py',
    '../_base_/schedules/lamb_1e-3_90e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(head=dict(num_classes=_base_.num_classes), train_cfg=_base_.cutmix)
train_dataloader = dict(batch_size=128)
