"""Convolutional networks of timm.

ConvNeXt, RegNet, ResNet, EfficientNet, PoolFormer and other MetaFormers, InceptionNeXt
and MambaOut.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_fixed_batch

from .notation import activation, branch, register


def _convnext(block: Any, x: Tensor) -> Tensor:
    x = block.conv_dw(x)
    if block.use_conv_mlp:
        return block.mlp(block.norm(x))
    return block.mlp(block.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def _has_shortcut(block: Any) -> bool:
    return block.downsample is not None


def _from_space(block: Any, x: Tensor) -> Tensor:
    return x if block.conv_s2d is None else block.bn_s2d(block.conv_s2d(x))


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    x = block.fc1(block.norm(x))
    gate, identity, maps = torch.split(x, block.split_indices, dim=-1)
    maps = block.conv(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((identity, maps), dim=-1)))


register(
    'timm.models',
    {
        # V1 and V2.
        'convnext.ConvNeXtBlock': branch(
            (_convnext, '*gamma:'), 'drop_path', 'shortcut'
        ),
        'inception_next.MetaNeXtBlock': branch(
            'token_mixer norm mlp *gamma:', 'drop_path'
        ),
        # RegNetX, RegNetY and RegNetZ, which has blocks without a shortcut.
        'regnet.Bottleneck': branch(
            'conv1 conv2 se conv3',
            'drop_path',
            'downsample',
            activation('act3'),
            _has_shortcut,
        ),
        # Also ResNeXt, SE-ResNet and other variants.
        'resnet.BasicBlock': branch(
            'conv1 bn1 drop_block act1 aa conv2 bn2 se?',
            'drop_path',
            'downsample?',
            activation('act2'),
        ),
        'resnet.Bottleneck': branch(
            'conv1 bn1 act1 conv2 bn2 drop_block act2 aa conv3 bn3 se?',
            'drop_path',
            'downsample?',
            activation('act3'),
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
register(
    'timm.models._efficientnet_blocks',
    {
        name: (branch(residual, 'drop_path', exists='has_skip'),)
        for name, residual in (
            ('ConvBnAct', 'conv bn1 aa'),
            (
                'DepthwiseSeparableConv',
                (_from_space, 'conv_dw bn1 aa se conv_pw bn2'),
            ),
            (
                'InvertedResidual',
                (_from_space, 'conv_pw bn1 conv_dw bn2 aa se conv_pwl bn3'),
            ),
            (
                'UniversalInvertedResidual',
                'dw_start pw_exp dw_mid se pw_proj dw_end layer_scale',
            ),
            ('EdgeResidual', 'conv_exp bn1 aa se conv_pwl bn2'),
        )
    },
)

# Stages with attention reshape their maps by their input.
register_fixed_batch('timm.models.metaformer.Attention')
