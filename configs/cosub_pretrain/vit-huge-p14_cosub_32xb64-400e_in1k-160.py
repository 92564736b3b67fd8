# ViT-H/14 on ImageNet-1k at 160 pixels, 400 epochs.
#
# Published (DeiT III, which cosub builds on). Ours: the drop-path rate.
_base_ = [
    '../_base_/models/vit-huge_classifier.py',
    '../_base_/datasets/imagenet_3augment_160.py',
    '../_base_/schedules/lamb_3e-3_400e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(backbone=dict(img_size=160, layer_cfgs=dict(drop_path_rate=0.5)))
train_dataloader = dict(batch_size=64)
