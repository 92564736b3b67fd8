# UperNet over MMSegmentation's MAE, base, as in its config.
_base_ = ['upernet_vit.py']
model = dict(
    backbone=dict(
        _delete_=True,
        type='MAE',
        img_size=(512, 512),
        patch_size=16,
        embed_dims=768,
        num_layers=12,
        num_heads=12,
        mlp_ratio=4,
        init_values=1.0,
        out_indices=[3, 5, 7, 11],
        drop_path_rate=0.1,  # last block's; the others' rise to it linearly
    ),
    neck=dict(embed_dim=768),
    decode_head=dict(in_channels=[768, 768, 768, 768], channels=768),
    auxiliary_head=dict(in_channels=768),
)
