"""Convolutional networks of timm.

ConvNeXt, RegNet, ResNet, EfficientNet, PoolFormer and other MetaFormers, InceptionNeXt
and MambaOut.
"""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import activation, chain, downsampled


def _convnext(block: Any, x: Tensor) -> Tensor:
    x = block.conv_dw(x)
    if block.use_conv_mlp:
        x = block.mlp(block.norm(x))
    else:
        x = block.mlp(block.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    return x if block.gamma is None else x * block.gamma.view(1, -1, 1, 1)


# V1 and V2.
register_block(
    'timm.models.convnext.ConvNeXtBlock',
    Branch(_convnext, 'drop_path', chain('shortcut')),
)


def _inception_next(block: Any, x: Tensor) -> Tensor:
    x = block.mlp(block.norm(block.token_mixer(x)))
    return x if block.gamma is None else x * block.gamma.view(1, -1, 1, 1)


register_block(
    'timm.models.inception_next.MetaNeXtBlock', Branch(_inception_next, 'drop_path')
)


def _has_shortcut(block: Any) -> bool:
    return block.downsample is not None


# RegNetX, RegNetY and RegNetZ, which has blocks without a shortcut.
register_block(
    'timm.models.regnet.Bottleneck',
    Branch(
        chain('conv1 conv2 se conv3'),
        'drop_path',
        chain('downsample'),
        activation('act3'),
        _has_shortcut,
    ),
)


def _basic_block(block: Any, x: Tensor) -> Tensor:
    x = block.drop_block(block.bn1(block.conv1(x)))
    x = block.bn2(block.conv2(block.aa(block.act1(x))))
    return x if block.se is None else block.se(x)


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    x = block.act1(block.bn1(block.conv1(x)))
    x = block.act2(block.drop_block(block.bn2(block.conv2(x))))
    x = block.bn3(block.conv3(block.aa(x)))
    return x if block.se is None else block.se(x)


# Also ResNeXt, SE-ResNet and other variants.
register_block(
    'timm.models.resnet.BasicBlock',
    Branch(_basic_block, 'drop_path', downsampled, activation('act2')),
)
register_block(
    'timm.models.resnet.Bottleneck',
    Branch(_bottleneck, 'drop_path', downsampled, activation('act3')),
)


def _from_space(block: Any, x: Tensor) -> Tensor:
    return x if block.conv_s2d is None else block.bn_s2d(block.conv_s2d(x))


def _separable(block: Any, x: Tensor) -> Tensor:
    x = block.bn1(block.conv_dw(_from_space(block, x)))
    return block.bn2(block.conv_pw(block.se(block.aa(x))))


def _inverted(block: Any, x: Tensor) -> Tensor:
    x = block.bn1(block.conv_pw(_from_space(block, x)))
    x = block.se(block.aa(block.bn2(block.conv_dw(x))))
    return block.bn3(block.conv_pwl(x))


# EfficientNet and V2, MobileNetV3 and V4, and others.
for _name, _residual in (
    ('ConvBnAct', chain('conv bn1 aa')),
    ('DepthwiseSeparableConv', _separable),
    ('InvertedResidual', _inverted),
    (
        'UniversalInvertedResidual',
        chain('dw_start pw_exp dw_mid se pw_proj dw_end layer_scale'),
    ),
    ('EdgeResidual', chain('conv_exp bn1 aa se conv_pwl bn2')),
):
    register_block(
        f'timm.models._efficientnet_blocks.{_name}',
        Branch(_residual, 'drop_path', exists=attrgetter('has_skip')),
    )

# PoolFormer, ConvFormer and CAFormer. timm drops before the layer scale, which is
# equivalent.
register_block(
    'timm.models.metaformer.MetaFormerBlock',
    Branch(chain('norm1 token_mixer layer_scale1'), 'drop_path1', chain('res_scale1')),
    Branch(chain('norm2 mlp layer_scale2'), 'drop_path2', chain('res_scale2')),
)
# Stages with attention reshape their maps by their input.
register_fixed_batch('timm.models.metaformer.Attention')


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    x = block.fc1(block.norm(x))
    gate, identity, maps = torch.split(x, block.split_indices, dim=-1)
    maps = block.conv(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((identity, maps), dim=-1)))


register_block(
    'timm.models.mambaout.GatedConvBlock', Branch(_gated_convolution, 'drop_path')
)

# The rows of its transformer are positions in a patch, not images. See drop_paths.
register_block('timm.models.mobilevit.MobileVitBlock')
