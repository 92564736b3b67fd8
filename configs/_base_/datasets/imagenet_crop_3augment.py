# ImageNet-1k at 224 pixels, 64 images a GPU, for fine-tuning after ImageNet-21k: a crop
# of nearly the whole image, 3-Augment, no repeated augmentation.
#
# Published (DeiT III).
_base_ = './imagenet_3augment.py'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='ResizeEdge',
        scale=224,
        edge='short',
        backend='pillow',
        interpolation='bicubic',
    ),
    dict(type='RandomCrop', crop_size=224, padding=4, padding_mode='reflect'),
    *_base_.train_pipeline[2:],
]
train_dataloader = dict(
    batch_size=64,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
# No mixup: for `model.train_cfg`.
cutmix = dict(augments=[dict(type='CutMix', alpha=1.0)])
