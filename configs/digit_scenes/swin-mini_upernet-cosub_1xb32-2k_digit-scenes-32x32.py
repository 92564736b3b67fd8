_base_ = [
    './swin-mini_upernet_1xb32-2k_digit-scenes-32x32.py',
    '../_base_/schemes/cosub.py',
]
# Views teach each other little while neither knows anything: then the label counts more.
custom_hooks = [dict(type='mmcosub.CoTrainingLossHook', ramp=300)]
