# ViT-H/14, pretrained at 160 pixels, fine-tuned at 224.
#
# Published (DeiT III). Ours: that it is fine-tuned by cosub, too.
# `padding=0` leaves the last pixels out where 14 does not divide the size, as theirs;
# MMPretrain pads.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_randaugment.py',
    '../_base_/schedules/adamw_1e-5_20e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(
        arch='huge',
        patch_size=14,
        patch_cfg=dict(padding=0),
        layer_cfgs=dict(drop_path_rate=0.55),
    ),
    head=dict(in_channels=1280),
)
train_dataloader = dict(batch_size=32)
load_from = 'work_dirs/vit-huge-p14_cosub_32xb64-800e_in1k-160/epoch_800.pth'
