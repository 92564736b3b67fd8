"""Tiny transformers of MMPretrain and MMSegmentation."""

from .blocks import conformer, levit

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
VIT = dict(arch=ARCH, img_size=32, patch_size=8, out_type='featmap', out_indices=(0, 2))
MMSEG_VIT = dict(
    img_size=32,
    patch_size=8,
    embed_dims=16,
    num_layers=3,
    num_heads=2,
    mlp_ratio=2,
    out_indices=(0, 2),
    init_values=0.1,
)
TWINS = dict(
    embed_dims=[8, 16],
    depths=[2, 2],
    num_heads=[1, 2],
    patch_sizes=[4, 2],
    strides=[4, 2],
    mlp_ratios=[2, 2],
    sr_ratios=[2, 1],
)
MMSEG_TWINS = dict(
    embed_dims=[8, 16],
    depths=[2, 2],
    num_heads=[1, 2],
    patch_sizes=[4, 2],
    strides=[4, 2],
    mlp_ratios=[2, 2],
    sr_ratios=[2, 1],
    out_indices=(0, 1),
)

TRANSFORMERS = {
    'mmpretrain SwinV2': dict(
        type='mmpretrain.SwinTransformerV2',
        arch=dict(
            embed_dims=8,
            depths=[2, 2],
            num_heads=[2, 4],
            extra_norm_every_n_blocks=2,
        ),
        img_size=32,
        window_size=4,
        out_indices=(0, 1),
        pad_small_map=True,
    ),
    'mmpretrain XCiT': dict(
        type='mmpretrain.XCiT',
        img_size=32,
        patch_size=8,
        embed_dims=16,
        depth=2,
        cls_attn_layers=1,
        num_heads=2,
        use_pos_embed=False,  # it has no float64
        out_type='featmap',
        out_indices=(0, 2),
    ),
    'mmpretrain DeiT3': dict(type='mmpretrain.DeiT3', **VIT),
    'mmpretrain T2T-ViT': dict(
        type='mmpretrain.T2T_ViT',
        img_size=32,
        embed_dims=16,
        num_layers=2,
        t2t_cfg=dict(token_dims=8, use_performer=False),
        layer_cfgs=dict(num_heads=2, feedforward_channels=32),
        out_type='raw',
    ),
    'mmpretrain SAM': dict(
        type='mmpretrain.ViTSAM',
        arch=dict(**ARCH, global_attn_indexes=[1]),
        img_size=32,
        patch_size=8,
        window_size=3,
        out_channels=0,
        out_indices=(0, 2),
    ),
    'mmpretrain EVA-02': dict(type='mmpretrain.ViTEVA02', **VIT),
    'mmpretrain HiViT': dict(
        type='mmpretrain.HiViT',
        arch=dict(embed_dims=16, depths=[1, 1, 8], num_heads=2),
        img_size=32,
        layer_scale_init_value=0.1,
        out_indices=[7],
    ),
    'mmpretrain BEiT': dict(type='mmpretrain.BEiTViT', **VIT),
    'mmseg BEiT': dict(type='mmseg.BEiT', **MMSEG_VIT),
    'mmseg MAE': dict(type='mmseg.MAE', **MMSEG_VIT),
    'mmpretrain Twins-PCPVT': dict(
        type='mmpretrain.PCPVT', arch=TWINS, out_indices=(0, 1)
    ),
    'mmpretrain Twins-SVT': dict(
        type='mmpretrain.SVT',
        arch=dict(**TWINS, window_sizes=[3, 3]),
        out_indices=(0, 1),
    ),
    'mmseg Twins-PCPVT': dict(type='mmseg.PCPVT', **MMSEG_TWINS),
    'mmseg Twins-SVT': dict(type='mmseg.SVT', windiow_sizes=[3, 3], **MMSEG_TWINS),
    'mmpretrain TinyViT': dict(
        type='mmpretrain.TinyViT',
        arch=dict(channels=[8, 8, 16], num_heads=[1, 2, 2], depths=[1, 1, 1]),
        img_size=(32, 32),
        window_size=[4, 3, 2],
        out_indices=(1, 2),
        gap_before_final_norm=False,
    ),
    'mmpretrain LeViT': levit,
    'mmpretrain MLP-Mixer': dict(
        type='mmpretrain.MlpMixer',
        arch=dict(embed_dims=16, num_layers=2, tokens_mlp_dims=8, channels_mlp_dims=32),
        img_size=32,
        patch_size=8,
    ),
    'mmpretrain MobileViT': dict(
        type='mmpretrain.MobileViT',
        drop_path_rate=None,
        arch=[
            ['mobilenetv2', 8, 1, 2, 2],
            ['mobilevit', 8, 2, 16, 32, 1, 2],
            ['mobilenetv2', 8, 1, 2, 2],
        ],
        stem_channels=8,
        last_exp_factor=2,
        out_indices=(0, 2),
    ),
    'mmpretrain BEiT, shared positions': dict(
        type='mmpretrain.BEiTViT',
        use_rel_pos_bias=False,
        use_shared_rel_pos_bias=True,
        layer_scale_init_value=0.0,
        **VIT,
    ),
    'mmpretrain DaViT': dict(
        type='mmpretrain.DaViT',
        arch=dict(embed_dims=8, depths=[1, 2], num_heads=[1, 2]),
        window_size=3,
        out_indices=(0, 1),
    ),
    'mmpretrain MViT': dict(
        type='mmpretrain.MViT',
        arch=dict(embed_dims=8, num_layers=4, num_heads=1, downscale_indices=[1, 3]),
        img_size=32,
        out_scales=(0, 1, 2),
    ),
    'mmpretrain MViT, wider behind attention': dict(
        type='mmpretrain.MViT',
        arch=dict(embed_dims=8, num_layers=4, num_heads=1, downscale_indices=[1, 3]),
        img_size=32,
        out_scales=(2,),
        dim_mul_in_attention=False,
    ),
    'mmpretrain Conformer': conformer,
}
