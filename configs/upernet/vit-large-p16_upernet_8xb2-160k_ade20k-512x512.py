_base_ = [
    '../_base_/models/upernet_vit.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(
        arch='large',
        out_indices=(7, 11, 15, 23),
        layer_cfgs=dict(drop_path_rate=0.3),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024]),
    auxiliary_head=dict(in_channels=1024),
)
