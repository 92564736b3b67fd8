"""Tiny networks of timm."""


def timm_config(name, **kwargs):
    return dict(type='mmpretrain.TIMMBackbone', model_name=name, **kwargs)


TIMM_VIT = dict(img_size=32, patch_size=8, embed_dim=16, num_heads=2)
TIMM_SWIN = dict(img_size=32, window_size=4, embed_dim=8, depths=(2, 2))
TIMM = {
    'timm ViT': timm_config(
        'vit_tiny_patch16_224', depth=3, init_values=0.1, **TIMM_VIT
    ),
    'timm ViT, features': timm_config(
        'vit_tiny_patch16_224', depth=3, features_only=True, **TIMM_VIT
    ),
    'timm Swin': timm_config(
        'swin_tiny_patch4_window7_224', num_heads=(2, 4), **TIMM_SWIN
    ),
    'timm SwinV2': timm_config(
        'swinv2_tiny_window8_256', num_heads=(2, 4), **TIMM_SWIN
    ),
    'timm ConvNeXt': timm_config(
        'convnext_atto', depths=(1,) * 4, dims=(8, 8, 16, 16), features_only=True
    ),
    'timm ConvNeXt V2': timm_config(
        'convnextv2_atto', depths=(1,) * 4, dims=(8, 8, 16, 16)
    ),
    'timm RegNetY': timm_config('regnety_002', features_only=True),
    'timm XCiT': timm_config('xcit_nano_12_p16_224', depth=2, **TIMM_VIT),
    'timm PiT': timm_config(
        'pit_ti_224',
        img_size=32,
        patch_size=8,
        stride=4,
        base_dims=(8,) * 3,
        depth=(1, 1, 1),
        heads=(1, 2, 2),
    ),
}
