# ViT-M, pretrained on ImageNet-21k, fine-tuned on ImageNet-1k at 224 pixels.
#
# Published: the architecture, and what all sizes share (DeiT III). Ours: the drop-path
# rate and fine-tuning by cosub.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_crop_3augment.py',
    '../_base_/schedules/lamb_3e-4_50e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=512,
            num_layers=12,
            num_heads=8,
            feedforward_channels=2048,
        ),
        layer_cfgs=dict(drop_path_rate=0.1),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/vit-medium-p16_cosub_16xb128-90e_in21k-224/epoch_90.pth',
            prefix='backbone.',
        ),
    ),
    head=dict(in_channels=512),
    train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)]),
)
train_dataloader = dict(batch_size=128)
