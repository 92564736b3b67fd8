"""Tiny networks of timm."""

from timm.models.vision_transformer import ResPostBlock
from timm.models.vision_transformer_relpos import ResPostRelPosBlock


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
    'timm RegNetZ': timm_config('regnetz_005', features_only=True),
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
    'timm EVA-02': timm_config(
        'eva02_tiny_patch14_224', **TIMM_VIT, depth=3, init_values=0.1
    ),
    'timm EVA-02, features': timm_config(
        'eva02_tiny_patch14_224', **TIMM_VIT, depth=3, features_only=True
    ),
    'timm EVA, norms behind': timm_config(
        'eva02_tiny_patch14_224', **TIMM_VIT, depth=3, use_post_norm=True
    ),
    'timm DINOv3': timm_config(
        'vit_small_patch16_dinov3',
        **TIMM_VIT,
        depth=3,
        features_only=True,
        out_indices=(0, 2),
    ),
    'timm BEiT': timm_config('beit_base_patch16_224', **TIMM_VIT, depth=3),
    'timm CaiT': timm_config('cait_xxs24_224', **TIMM_VIT, depth=3),
    'timm ConViT': timm_config(
        'convit_tiny', **{**TIMM_VIT, 'embed_dim': 8}, depth=3, local_up_to_layer=2
    ),
    'timm ViT, relative positions': timm_config(
        'vit_relpos_small_patch16_224', **TIMM_VIT, depth=3
    ),
    'timm ViT, norms behind': timm_config(
        'vit_tiny_patch16_224', depth=3, **TIMM_VIT, block_fn=ResPostBlock
    ),
    'timm ViT, relative positions, norms behind': timm_config(
        'vit_relpos_small_patch16_224', **TIMM_VIT, depth=3, block_fn=ResPostRelPosBlock
    ),
    'timm SwinV2-CR': timm_config(
        'swinv2_cr_tiny_ns_224', num_heads=(2, 4), extra_norm_period=2, **TIMM_SWIN
    ),
    'timm PVTv2': timm_config(
        'pvt_v2_b0', depths=(1,) * 4, embed_dims=(8,) * 4, num_heads=(1, 1, 2, 2)
    ),
    'timm Twins': timm_config(
        'twins_svt_small', depths=(2,) * 4, embed_dims=(8,) * 4, num_heads=(1,) * 4
    ),
    'timm ResNet, basic blocks': timm_config('resnet18', channels=(4, 4, 8, 8)),
    'timm SE-ResNet, bottlenecks': timm_config('seresnet50', channels=(4, 4, 8, 8)),
    'timm MambaOut': timm_config(
        'mambaout_femto', depths=(1,) * 4, dims=(8, 8, 16, 16)
    ),
}
