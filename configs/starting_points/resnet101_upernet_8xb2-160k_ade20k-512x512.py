_base_ = [
    '../_base_/models/upernet_resnet.py',
    '../_base_/datasets/ade20k_512x512.py',
    '../_base_/schedules/sgd_160k.py',
    '../_base_/default_runtime.py',
]
model = dict(backbone=dict(depth=101))
