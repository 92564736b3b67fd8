_base_ = [
    '../_base_/models/upernet_convnext.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_layer_decay_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(
    backbone=dict(arch='base'),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
optim_wrapper = dict(
    paramwise_cfg=dict(num_layers=12, decay_rate=0.9, decay_type='stage_wise'),
)
