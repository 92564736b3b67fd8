"""Tiny networks of timm, built from their classes: its models fix the sizes."""

from collections.abc import Callable
from functools import partial

from timm.layers import GatedMlp, LayerNorm, LayerNorm2d
from timm.models import mlp_mixer
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models._efficientnet_builder import EfficientNetBuilder, decode_arch_def
from timm.models.focalnet import FocalNet
from timm.models.hiera import Hiera
from timm.models.inception_next import MetaNeXt
from timm.models.maxxvit import (
    MaxxVit,
    MaxxVitCfg,
    MaxxVitConvCfg,
    MaxxVitTransformerCfg,
)
from timm.models.metaformer import Attention, MetaFormer, Pooling, SepConv
from timm.models.nest import Nest
from timm.models.qwen3_vit import Qwen3VitEncoder
from torch import Tensor, nn

Build = Callable[[float], nn.Module]


class Features(nn.Module):
    """A network's features, as a backbone's outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.model.forward_features(images),)


def _features(build: Callable[..., nn.Module], **kwargs: object) -> Build:
    return partial(_built, build, kwargs)


def _built(build: Callable[..., nn.Module], kwargs: dict, rate: float) -> nn.Module:
    return Features(build(drop_path_rate=rate, num_classes=0, **kwargs))


MIXER = dict(img_size=32, patch_size=8, embed_dim=16, num_blocks=3)


def _maxxvit(block: str, conv: str = 'mbconv', parallel: bool = False) -> Build:
    cfg = MaxxVitCfg(
        embed_dim=(8, 16),
        depths=(1, 2),
        block_type=('C' if block == 'T' else block, block),
        stem_width=8,
        conv_cfg=MaxxVitConvCfg(block_type=conv, init_values=0.1),
        transformer_cfg=MaxxVitTransformerCfg(
            dim_head=8,
            window_size=(4, 4),
            grid_size=(4, 4),
            init_values=0.1,
            rel_pos_type='bias',
            use_nchw_attn=block == 'M' and conv == 'mbconv' and not parallel,
        ),
    )
    return _features(MaxxVit, cfg=cfg, img_size=32)


def _metaformer(**kwargs: object) -> Build:
    sizes = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 16))
    return _features(MetaFormer, **{**sizes, **kwargs})


def _qwen3(rate: float) -> nn.Module:
    sizes = dict(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2)
    return Features(
        Qwen3VitEncoder(**sizes, pos_embed_grid_size=4, drop_path_rate=rate)
    )


ARCH = [
    ['cn_r1_k3_s1_c8_skip', 'ds_r2_k3_s1_e1_c8'],
    ['ir_r2_k3_s2_e2_c16_se0.25', 'er_r2_k3_s1_e2_c16'],
    ['uir_r2_a3_k3_s1_e2_c16'],
]


class EfficientNetBlocks(nn.Module):
    """A stem and every kind of block of EfficientNet and its like."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        builder = EfficientNetBuilder(
            act_layer=nn.ReLU,
            norm_layer=nn.BatchNorm2d,
            se_layer=SqueezeExcite,
            drop_path_rate=rate,
        )
        stages = builder(8, decode_arch_def(ARCH))
        self.blocks = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.blocks(self.stem(images)),)


TIMM_BUILT: dict[str, Build] = {
    'timm NesT': _features(
        Nest,
        img_size=32,
        patch_size=4,
        num_levels=2,
        embed_dims=(8, 16),
        num_heads=(1, 2),
        depths=(1, 2),
    ),
    'timm MLP-Mixer': _features(mlp_mixer.MlpMixer, **MIXER),
    'timm ResMLP': _features(
        mlp_mixer.MlpMixer,
        block_layer=mlp_mixer.ResBlock,
        norm_layer=mlp_mixer.Affine,
        mlp_ratio=2,
        **MIXER,
    ),
    'timm gMLP': _features(
        mlp_mixer.MlpMixer,
        block_layer=mlp_mixer.SpatialGatingBlock,
        mlp_layer=GatedMlp,
        mlp_ratio=2,
        **MIXER,
    ),
    'timm Hiera': _features(
        Hiera,
        img_size=(32, 32),
        embed_dim=8,
        stages=(1, 2),
        q_pool=1,
        mask_unit_size=(2, 2),
        mask_unit_attn=(True, False),
    ),
    'timm Hiera, pooled shortcut': _features(
        Hiera,
        img_size=(32, 32),
        embed_dim=8,
        stages=(1, 2),
        q_pool=1,
        mask_unit_size=(2, 2),
        mask_unit_attn=(True, False),
        use_expand_proj=False,
    ),
    'timm MaxViT': _maxxvit('M'),
    'timm MaxxViT': _maxxvit('M', conv='convnext'),
    'timm MaxViT, parallel': _maxxvit('PM'),
    'timm CoAtNet': _maxxvit('T'),
    'timm FocalNet': _features(
        FocalNet,
        depths=(1, 2),
        embed_dim=8,
        focal_levels=(2, 2),
        focal_windows=(3, 3),
        layerscale_value=0.1,
        use_post_norm=True,
    ),
    'timm EfficientNet': EfficientNetBlocks,
    'timm PoolFormer': _metaformer(
        token_mixers=Pooling, layer_scale_init_values=0.1, norm_layers=LayerNorm2d
    ),
    'timm ConvFormer': _metaformer(token_mixers=SepConv),
    'timm CAFormer': _metaformer(
        dims=(8, 8, 32, 32),
        token_mixers=[SepConv, SepConv, Attention, Attention],
        norm_layers=[LayerNorm2d, LayerNorm2d, LayerNorm, LayerNorm],
    ),
    'timm Qwen3': _qwen3,
    'timm InceptionNeXt': _features(
        MetaNeXt, depths=(1, 1, 1, 1), dims=(16,) * 4, ls_init_value=0.1
    ),
}
