# UperNet over MMPretrain's ConvNeXt, tiny, as in MMSegmentation's configs of it.
_base_ = ['upernet_swin.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ConvNeXt',
        arch='tiny',
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.4,  # last block's; the others' rise to it linearly
        layer_scale_init_value=1.0,
        gap_before_final_norm=False,
    ),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
