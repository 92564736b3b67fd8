# UperNet over DINOv2, small, as MMPretrain's ViT. Patches are of 16 pixels rather than 14,
# so that they fill a crop of 512; the projection is resized on loading. Ours: the
# drop-path rate and the levels, every third block.
_base_ = ['upernet_vit.py']
model = dict(
    backbone=dict(
        arch='dinov2-small',
        out_indices=(2, 5, 8, 11),
        layer_scale_init_value=1e-5,
        layer_cfgs=dict(drop_path_rate=0.1),  # constant over depth
    ),
)
