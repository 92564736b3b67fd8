# PiT-B on ImageNet-1k at 224 pixels, 400 epochs.
#
# Published: the recipe, of ViT (DeiT III). Ours: that this architecture has it, its
# learning rate and drop-path rate.
_base_ = [
    '../_base_/models/pit_classifier.py',
    '../_base_/datasets/imagenet_3augment.py',
    '../_base_/schedules/lamb_3e-3_400e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
train_dataloader = dict(batch_size=128)
