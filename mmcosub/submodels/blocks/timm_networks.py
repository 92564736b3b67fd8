"""Networks of timm.

ViT and PiT, EVA and DINOv3, BEiT, CaiT, SAM's encoder, NesT, ConViT, XCiT, MLP-Mixer,
ResMLP and gMLP; Swin and SwinV2, PVTv2, Twins, Hiera, MaxViT, CoAtNet and FocalNet;
ConvNeXt, RegNet, ResNet, EfficientNet, PoolFormer and other MetaFormers, InceptionNeXt
and MambaOut.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_fixed_batch

from .notation import branch, branches, chain, numbered, register

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

_channels_first = chain('norm mlp ls?')
_channels_last = chain('> norm mlp ls? <')


def _convnext(block: Any, x: Tensor) -> Tensor:
    mlp = _channels_first if block.use_conv_mlp else _channels_last
    return mlp(block, block.conv_dw(x))


def _hiera_shortcut(block: Any, x: Tensor) -> Tensor:
    if not block.do_expand:
        return x
    y = x if block.proj is None else block.proj(block.norm1(x))
    y = y.unflatten(1, (block.attn.q_stride, -1))
    if block.proj is None:
        return torch.cat([y.amax(dim=1), y.mean(dim=1)], dim=-1)
    return y.amax(dim=1)


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    x = block.fc1(block.norm(x))
    gate, identity, maps = torch.split(x, block.split_indices, dim=-1)
    maps = block.conv(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((identity, maps), dim=-1)))


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
        'maxxvit.ConvNeXtBlock': branch(('down', _convnext), 'drop_path', 'shortcut'),
        # CoAtNet.
        'maxxvit.TransformerBlock2d': (
            branch('norm1 attn() ls1', 'drop_path1', 'shortcut'),
            branch('norm2 mlp ls2', 'drop_path2'),
        ),
        'focalnet.FocalNetBlock': numbered(
            'norm1 modulation norm1_post ls1', 'norm2 mlp norm2_post ls2'
        ),
        # V1 and V2.
        'convnext.ConvNeXtBlock': branch(
            (_convnext, '*gamma:'), 'drop_path', 'shortcut'
        ),
        'inception_next.MetaNeXtBlock': branch(
            'token_mixer norm mlp *gamma:', 'drop_path'
        ),
        # RegNetX, RegNetY and RegNetZ, which has blocks without a shortcut.
        'regnet.Bottleneck': branch(
            'conv1 conv2 se conv3', 'drop_path', 'downsample', 'act3!', 'downsample'
        ),
        # Also ResNeXt, SE-ResNet and other variants.
        'resnet.BasicBlock': branch(
            'conv1 bn1 drop_block act1 aa conv2 bn2 se?',
            'drop_path',
            'downsample?',
            'act2!',
        ),
        'resnet.Bottleneck': branch(
            'conv1 bn1 act1 conv2 bn2 drop_block act2 aa conv3 bn3 se?',
            'drop_path',
            'downsample?',
            'act3!',
        ),
        # PoolFormer, ConvFormer and CAFormer. timm drops before the layer scale, which
        # is equivalent.
        'metaformer.MetaFormerBlock': (
            branch('norm1 token_mixer layer_scale1', 'drop_path1', 'res_scale1'),
            branch('norm2 mlp layer_scale2', 'drop_path2', 'res_scale2'),
        ),
        'mambaout.GatedConvBlock': branch(_gated_convolution, 'drop_path'),
        # The rows of its transformer are positions in a patch, not images. See
        # drop_paths.
        'mobilevit.MobileVitBlock': (),
    },
)

# EfficientNet and V2, MobileNetV3 and V4, and others.
_EFFICIENT = {
    'ConvBnAct': 'conv bn1 aa',
    'DepthwiseSeparableConv': 'conv_s2d? bn_s2d? conv_dw bn1 aa se conv_pw bn2',
    'InvertedResidual': 'conv_s2d? bn_s2d? conv_pw bn1 conv_dw bn2 aa se conv_pwl bn3',
    'UniversalInvertedResidual': 'dw_start pw_exp dw_mid se pw_proj dw_end layer_scale',
    'EdgeResidual': 'conv_exp bn1 aa se conv_pwl bn2',
}
register(
    'timm.models._efficientnet_blocks',
    {
        name: branch(residual, 'drop_path', exists='has_skip')
        for name, residual in _EFFICIENT.items()
    },
)

register_fixed_batch(
    # These add a class token per image between or after their blocks.
    'timm.models.convit.ConVit',
    'timm.models.xcit.Xcit',
    # These reshape outputs by the input batch.
    'timm.models.metaformer.Attention',  # in some stages
    'timm.models.pit.Transformer',
    'timm.models.pvt_v2.PyramidVisionTransformerStage',
    'timm.models.qwen3_vit.Qwen3VitEncoder',
    'timm.models.twins.Twins',
    'timm.models._features.FeatureGetterNet',
)
