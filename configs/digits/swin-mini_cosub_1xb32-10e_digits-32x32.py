# The demo's Swin, pretrained by cosub on digits. All values ours.
_base_ = [
    '../_base_/datasets/digits_32x32.py',
    '../_base_/schedules/adamw_digits.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=32, depths=[2, 2, 4, 2], num_heads=[1, 2, 4, 8]),
        img_size=32,
        window_size=4,
        drop_path_rate=0.1,
        pad_small_map=True,  # the last map is smaller than a window
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=256,
        loss=dict(type='CrossEntropyLoss'),
    ),
)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=10, save_best=None)
)
randomness = dict(seed=0)
