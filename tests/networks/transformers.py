"""Tiny transformers of MMPretrain and MMSegmentation."""

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
}
