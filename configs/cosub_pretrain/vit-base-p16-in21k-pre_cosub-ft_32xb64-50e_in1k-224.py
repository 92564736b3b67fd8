# ViT-B, pretrained on ImageNet-21k, fine-tuned on ImageNet-1k at 224 pixels.
#
# Published (DeiT III). Ours: that it is fine-tuned by cosub, too.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_crop_3augment.py',
    '../_base_/schedules/lamb_3e-4_50e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(
        arch='base',
        layer_cfgs=dict(drop_path_rate=0.15),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/vit-base-p16_cosub_32xb64-90e_in21k-224/epoch_90.pth',
            prefix='backbone.',
        ),
    ),
    head=dict(in_channels=768),
    train_cfg=_base_.cutmix,
)
