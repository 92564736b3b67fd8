# The demo's: a Swin small enough for a CPU, on digit scenes. All values ours.
_base_ = [
    '../_base_/models/upernet_swin.py',
    '../_base_/datasets/digit_scenes_32x32.py',
    '../_base_/schedules/adamw_digit_scenes.py',
    '../_base_/default_runtime.py',
]
norm_cfg = dict(type='BN', requires_grad=True)
# Most pixels are ground; without weights it is all that so short a training learns.
class_weight = [0.3] + [1.0] * 10
model = dict(
    data_preprocessor=dict(size=(32, 32)),
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=32,
            depths=[2, 2, 4, 2],
            num_heads=[1, 2, 4, 8],
        ),
        img_size=32,
        window_size=4,
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        in_channels=[32, 64, 128, 256],
        channels=64,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
    auxiliary_head=dict(
        in_channels=128,
        channels=32,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(class_weight=class_weight),
    ),
)
train_dataloader = dict(batch_size=32)
