# ConvNeXt-B, pretrained on ImageNet-21k, fine-tuned on ImageNet-1k at 224 pixels.
#
# Published: the recipe, of ViT (DeiT III). Ours: that this architecture has it, its
# drop-path rate and fine-tuning by cosub.
_base_ = [
    '../_base_/models/convnext_classifier_softmax.py',
    '../_base_/datasets/imagenet_crop_3augment.py',
    '../_base_/schedules/lamb_3e-4_50e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.2,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/convnext-base_cosub_32xb64-90e_in21k-224/epoch_90.pth',
            prefix='backbone.',
        ),
    ),
    head=dict(in_channels=1024),
    train_cfg=_base_.cutmix,
)
