# UperNet over MMPretrain's ResNet-50, which drops paths and into which torchvision's and
# timm's weights go as they are. The rate is ours.
_base_ = ['upernet_swin.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.1,  # last block's; the others' rise to it linearly
        norm_cfg={{_base_.norm_cfg}},
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
