# The demo's: a ViT small enough for a CPU, on digit scenes. All values ours.
_base_ = [
    '../_base_/models/upernet_vit.py',
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
            embed_dims=128,
            num_layers=4,
            num_heads=4,
            feedforward_channels=512,
        ),
        img_size=32,
        patch_size=4,
        out_indices=(0, 1, 2, 3),
        layer_scale_init_value=0.0,  # it begins too slowly for so short a training
        layer_cfgs=dict(drop_path_rate=0.05),
    ),
    # From stride 4 to strides 2, 4, 8 and 16.
    neck=dict(embed_dim=128, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
    decode_head=dict(
        in_channels=[128] * 4,
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
    test_cfg=dict(_delete_=True, mode='whole'),
)
train_dataloader = dict(batch_size=32)
