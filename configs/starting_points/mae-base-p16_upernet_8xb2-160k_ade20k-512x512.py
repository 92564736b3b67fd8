_base_ = [
    '../_base_/models/upernet_mae.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/adamw_layer_decay_160k.py',
    '../_base_/default_runtime.py',
]
optim_wrapper = dict(
    paramwise_cfg=dict(num_layers=12, decay_rate=0.65, decay_type='layer_wise'),
)
