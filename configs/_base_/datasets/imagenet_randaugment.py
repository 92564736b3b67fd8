# ImageNet-1k at 224 pixels, 64 images a GPU, for fine-tuning at a higher resolution:
# RandAugment, no repeated augmentation.
#
# Published (DeiT III).
_base_ = './imagenet_3augment.py'
train_pipeline = [
    *_base_.train_pipeline[:3],
    # timm's rand-m9-mstd0.5-inc1
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),  # BGR mean
    ),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=64,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
