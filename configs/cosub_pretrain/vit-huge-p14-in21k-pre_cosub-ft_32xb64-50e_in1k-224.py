# ViT-H/14, pretrained on ImageNet-21k, fine-tuned on ImageNet-1k at 224 pixels.
#
# Published (DeiT III). Ours: that it is fine-tuned by cosub, too.
# `padding=0` leaves the last pixels out where 14 does not divide the size, as theirs;
# MMPretrain pads.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_crop_3augment.py',
    '../_base_/schedules/lamb_3e-4_50e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(
        arch='huge',
        patch_size=14,
        patch_cfg=dict(padding=0),
        layer_cfgs=dict(drop_path_rate=0.45),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/vit-huge-p14_cosub_32xb64-90e_in21k-128/epoch_90.pth',
            prefix='backbone.',
        ),
    ),
    head=dict(in_channels=1280),
    train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)]),
)
