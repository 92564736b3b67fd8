"""Inverted residuals: MobileNet and EfficientNet of MMPretrain and MMSegmentation."""

from operator import attrgetter
from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import chain

# MobileNetV2 and Fast-SCNN.
for _name in (
    'mmpretrain.models.backbones.mobilenet_v2.InvertedResidual',
    'mmseg.models.utils.inverted_residual.InvertedResidual',
):
    register_block(_name, Branch(chain('conv'), exists=attrgetter('use_res_connect')))


def _inverted(block: Any, x: Tensor) -> Tensor:
    if block.with_expand_conv:
        x = block.expand_conv(x)
    x = block.depthwise_conv(x)
    if block.with_se:
        x = block.se(x)
    return block.linear_conv(x)


# MobileNetV3, EfficientNet and EfficientNetV2, MobileViT. mmseg's has no DropPath.
for _name, _drop_path in (
    ('mmpretrain.models.utils.inverted_residual.InvertedResidual', 'drop_path'),
    ('mmseg.models.utils.inverted_residual.InvertedResidualV3', None),
):
    register_block(
        _name, Branch(_inverted, _drop_path, exists=attrgetter('with_res_shortcut'))
    )


def _edge(block: Any, x: Tensor) -> Tensor:
    x = block.conv1(x)
    if block.with_se:
        x = block.se(x)
    return block.conv2(x)


register_block(
    'mmpretrain.models.backbones.efficientnet.EdgeResidual',
    Branch(_edge, 'drop_path', exists=attrgetter('with_residual')),
)


def _enhanced_conv(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    from mmcv.cnn import ConvModule  # installed if such a block exists

    return ConvModule.forward(block, x, **kwargs)


register_block(
    'mmpretrain.models.backbones.efficientnet_v2.EnhancedConvModule',
    Branch(_enhanced_conv, 'drop_path', exists=attrgetter('has_skip')),
)

# Adds features from before the blocks to those after them.
register_fixed_batch('mmseg.models.backbones.fast_scnn.FastSCNN')
