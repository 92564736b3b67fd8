"""Transformers and MLPs of timm.

ViT and PiT, EVA and DINOv3, BEiT, CaiT, SAM's encoder, NesT, ConViT, XCiT, MLP-Mixer,
ResMLP and gMLP; Swin and SwinV2, PVTv2, Twins, Hiera, MaxViT, CoAtNet and FocalNet.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_fixed_batch

from .notation import branch, branches, numbered, register

_VIT = numbered('norm1 attn() ls1', 'norm2 mlp ls2')
_VIT_POST_NORM = numbered('attn() norm1', 'mlp norm2')
_EVA = numbered('norm1 attn() *gamma_1', 'norm2 mlp *gamma_2')  # also DINOv3

register(
    'timm.models',
    {
        'vision_transformer.Block': _VIT,
        'vision_transformer_relpos.RelPosBlock': _VIT,
        'vision_transformer.ResPostBlock': _VIT_POST_NORM,
        'vision_transformer_relpos.ResPostRelPosBlock': _VIT_POST_NORM,
        'eva.EvaBlockPostNorm': _VIT_POST_NORM,
        'eva.EvaBlock': _EVA,
        'beit.Block': _EVA,
        # The class-attention blocks that follow have no rate and run unmodified.
        'cait.LayerScaleBlock': branches('norm1 attn() *gamma_1', 'norm2 mlp *gamma_2'),
        'nest.TransformerLayer': numbered('norm1 attn', 'norm2 mlp'),
        'convit.Block': branches('norm1 attn', 'norm2 mlp'),
        'xcit.XCABlock': (
            branch('norm1 attn *gamma1', 'drop_path1'),
            branch('norm3 local_mp() *gamma3', 'drop_path3'),
            branch('norm2 mlp *gamma2', 'drop_path2'),
        ),
        'mlp_mixer.MixerBlock': branches('norm1 ~ mlp_tokens ~', 'norm2 mlp_channels'),
        'mlp_mixer.ResBlock': branches(
            'norm1 ~ linear_tokens ~ *ls1', 'norm2 mlp_channels *ls2'
        ),
        'mlp_mixer.SpatialGatingBlock': branch('norm mlp_channels', 'drop_path'),
    },
)

# ---- pyramids -----------------------------------------------------------------------


def _hiera_shortcut(block: Any, x: Tensor) -> Tensor:
    if not block.do_expand:
        return x
    y = x if block.proj is None else block.proj(block.norm1(x))
    y = y.unflatten(1, (block.attn.q_stride, -1))
    if block.proj is None:
        return torch.cat([y.amax(dim=1), y.mean(dim=1)], dim=-1)
    return y.amax(dim=1)


def _conv_next(block: Any, x: Tensor) -> Tensor:
    x = block.conv_dw(block.down(x))
    if block.use_conv_mlp:
        return block.ls(block.mlp(block.norm(x)))
    x = block.ls(block.mlp(block.norm(x.permute(0, 2, 3, 1))))
    return x.permute(0, 3, 1, 2)


_PARTITION = numbered('norm1 _partition_attn ls1', 'norm2 mlp ls2')

register(
    'timm.models',
    {
        'swin_transformer.SwinTransformerBlock': numbered('norm1 _attn', 'norm2 mlp'),
        'swin_transformer_v2.SwinTransformerV2Block': numbered(
            '_attn norm1', 'mlp norm2'
        ),
        'swin_transformer_v2_cr.SwinTransformerV2CrBlock': (
            branch('_shifted_window_attn norm1', 'drop_path1'),
            branch('mlp norm2', 'drop_path2', after='norm3'),
        ),
        'pvt_v2.Block': numbered('norm1 attn()', 'norm2 mlp()'),
        'twins.Block': numbered('norm1 attn()', 'norm2 mlp'),
        'hiera.HieraBlock': (
            branch('norm1 attn ls1', 'drop_path1', _hiera_shortcut),
            branch('norm2 mlp ls2', 'drop_path2'),
        ),
        'maxxvit.PartitionAttentionCl': _PARTITION,
        'maxxvit.ParallelPartitionAttention': _PARTITION,
        'maxxvit.PartitionAttention2d': _PARTITION,
        'maxxvit.MbConvBlock': branch(
            'pre_norm down conv1_1x1 norm1 conv2_kxk se_early? norm2 se? conv3_1x1',
            'drop_path',
            'shortcut',
        ),
        'maxxvit.ConvNeXtBlock': branch(_conv_next, 'drop_path', 'shortcut'),
        # CoAtNet.
        'maxxvit.TransformerBlock2d': (
            branch('norm1 attn() ls1', 'drop_path1', 'shortcut'),
            branch('norm2 mlp ls2', 'drop_path2'),
        ),
        'focalnet.FocalNetBlock': numbered(
            'norm1 modulation norm1_post ls1', 'norm2 mlp norm2_post ls2'
        ),
    },
)

register_fixed_batch(
    # These add a class token per image between or after their blocks.
    'timm.models.convit.ConVit',
    'timm.models.xcit.Xcit',
    # These reshape outputs by the input batch.
    'timm.models.pit.Transformer',
    'timm.models.pvt_v2.PyramidVisionTransformerStage',
    'timm.models.qwen3_vit.Qwen3VitEncoder',
    'timm.models.twins.Twins',
    'timm.models._features.FeatureGetterNet',
)
