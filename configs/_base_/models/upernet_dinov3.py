# UperNet over DINOv3, small, of timm (`pip install timm`). Ours: the drop-path rate and
# the levels, every third block.
_base_ = ['upernet_vit.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.TIMMBackbone',
        model_name='vit_small_patch16_dinov3',
        features_only=True,
        out_indices=(2, 5, 8, 11),
        img_size=512,
        drop_path_rate=0.1,  # last block's; the others' rise to it linearly
    ),
)
