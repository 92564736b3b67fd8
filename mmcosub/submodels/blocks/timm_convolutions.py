"""Networks of convolutions of timm.

ConvNeXt, RegNet, ResNet, EfficientNet, PoolFormer and its like, InceptionNeXt and
MambaOut.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import out_of_place


def _convnext(block: Any, x: Tensor) -> Tensor:
    x = block.conv_dw(x)
    if block.use_conv_mlp:
        x = block.mlp(block.norm(x))
    else:
        x = block.mlp(block.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    return x if block.gamma is None else x * block.gamma.view(1, -1, 1, 1)


def _convnext_shortcut(block: Any, x: Tensor) -> Tensor:
    return block.shortcut(x)


# V1 and V2.
register_block(
    'timm.models.convnext.ConvNeXtBlock',
    Branch(_convnext, 'drop_path', _convnext_shortcut),
)


def _inception_next(block: Any, x: Tensor) -> Tensor:
    x = block.mlp(block.norm(block.token_mixer(x)))
    return x if block.gamma is None else x * block.gamma.view(1, -1, 1, 1)


register_block(
    'timm.models.inception_next.MetaNeXtBlock', Branch(_inception_next, 'drop_path')
)


def _regnet(block: Any, x: Tensor) -> Tensor:
    return block.conv3(block.se(block.conv2(block.conv1(x))))


def _regnet_shortcut(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x)


def _last_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act3, x)


def _has_shortcut(block: Any) -> bool:
    return block.downsample is not None


# RegNetX, RegNetY and RegNetZ, which has blocks without a shortcut.
register_block(
    'timm.models.regnet.Bottleneck',
    Branch(_regnet, 'drop_path', _regnet_shortcut, _last_activation, _has_shortcut),
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


def _resnet_shortcut(block: Any, x: Tensor) -> Tensor:
    return x if block.downsample is None else block.downsample(x)


def _second_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act2, x)


# And ResNeXt, SE-ResNet and their like.
register_block(
    'timm.models.resnet.BasicBlock',
    Branch(_basic_block, 'drop_path', _resnet_shortcut, _second_activation),
)
register_block(
    'timm.models.resnet.Bottleneck',
    Branch(_bottleneck, 'drop_path', _resnet_shortcut, _last_activation),
)


def _has_skip(block: Any) -> bool:
    return block.has_skip


def _from_space(block: Any, x: Tensor) -> Tensor:
    return x if block.conv_s2d is None else block.bn_s2d(block.conv_s2d(x))


def _conv(block: Any, x: Tensor) -> Tensor:
    return block.aa(block.bn1(block.conv(x)))


def _separable(block: Any, x: Tensor) -> Tensor:
    x = block.bn1(block.conv_dw(_from_space(block, x)))
    return block.bn2(block.conv_pw(block.se(block.aa(x))))


def _inverted(block: Any, x: Tensor) -> Tensor:
    x = block.bn1(block.conv_pw(_from_space(block, x)))
    x = block.se(block.aa(block.bn2(block.conv_dw(x))))
    return block.bn3(block.conv_pwl(x))


def _universal(block: Any, x: Tensor) -> Tensor:
    x = block.se(block.dw_mid(block.pw_exp(block.dw_start(x))))
    return block.layer_scale(block.dw_end(block.pw_proj(x)))


def _edge(block: Any, x: Tensor) -> Tensor:
    x = block.se(block.aa(block.bn1(block.conv_exp(x))))
    return block.bn2(block.conv_pwl(x))


# EfficientNet and V2, MobileNetV3 and V4, and their like.
for _name, _residual in (
    ('ConvBnAct', _conv),
    ('DepthwiseSeparableConv', _separable),
    ('InvertedResidual', _inverted),
    ('UniversalInvertedResidual', _universal),
    ('EdgeResidual', _edge),
):
    register_block(
        f'timm.models._efficientnet_blocks.{_name}',
        Branch(_residual, 'drop_path', exists=_has_skip),
    )


def _mixer(block: Any, x: Tensor) -> Tensor:
    return block.layer_scale1(block.token_mixer(block.norm1(x)))


def _mlp(block: Any, x: Tensor) -> Tensor:
    return block.layer_scale2(block.mlp(block.norm2(x)))


def _first_scale(block: Any, x: Tensor) -> Tensor:
    return block.res_scale1(x)


def _second_scale(block: Any, x: Tensor) -> Tensor:
    return block.res_scale2(x)


# PoolFormer, ConvFormer and CAFormer. They drop before the layer scale, which is the
# same.
register_block(
    'timm.models.metaformer.MetaFormerBlock',
    Branch(_mixer, 'drop_path1', _first_scale),
    Branch(_mlp, 'drop_path2', _second_scale),
)
# Stages with attention give their maps the shape of what came in.
register_fixed_batch('timm.models.metaformer.Attention')


def _gated_convolution(block: Any, x: Tensor) -> Tensor:
    x = block.fc1(block.norm(x))
    gate, identity, maps = torch.split(x, block.split_indices, dim=-1)
    maps = block.conv(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return block.ls(block.fc2(block.act(gate) * torch.cat((identity, maps), dim=-1)))


register_block(
    'timm.models.mambaout.GatedConvBlock', Branch(_gated_convolution, 'drop_path')
)

# Its transformer's rows are positions in a patch, and not images. See drop_paths.
register_block('timm.models.mobilevit.MobileVitBlock')
