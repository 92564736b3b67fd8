"""Inverted residuals: MobileNet and EfficientNet of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch


def _inverted_v2(block: Any, x: Tensor) -> Tensor:
    return block.conv(x)


def _keeps_shape_v2(block: Any) -> bool:
    return block.use_res_connect


# MobileNetV2 and Fast-SCNN.
for _name in (
    'mmpretrain.models.backbones.mobilenet_v2.InvertedResidual',
    'mmseg.models.utils.inverted_residual.InvertedResidual',
):
    register_block(_name, Branch(_inverted_v2, exists=_keeps_shape_v2))


def _inverted(block: Any, x: Tensor) -> Tensor:
    if block.with_expand_conv:
        x = block.expand_conv(x)
    x = block.depthwise_conv(x)
    if block.with_se:
        x = block.se(x)
    return block.linear_conv(x)


def _keeps_shape(block: Any) -> bool:
    return block.with_res_shortcut


# MobileNetV3, EfficientNet and EfficientNetV2, MobileViT. mmseg's has no drop path.
register_block(
    'mmpretrain.models.utils.inverted_residual.InvertedResidual',
    Branch(_inverted, 'drop_path', exists=_keeps_shape),
)
register_block(
    'mmseg.models.utils.inverted_residual.InvertedResidualV3',
    Branch(_inverted, exists=_keeps_shape),
)


def _edge(block: Any, x: Tensor) -> Tensor:
    x = block.conv1(x)
    if block.with_se:
        x = block.se(x)
    return block.conv2(x)


def _has_residual(block: Any) -> bool:
    return block.with_residual


register_block(
    'mmpretrain.models.backbones.efficientnet.EdgeResidual',
    Branch(_edge, 'drop_path', exists=_has_residual),
)


def _enhanced_conv(block: Any, x: Tensor, **kwargs: Any) -> Tensor:
    from mmcv.cnn import ConvModule  # there if such a block is

    return ConvModule.forward(block, x, **kwargs)


def _has_skip(block: Any) -> bool:
    return block.has_skip


register_block(
    'mmpretrain.models.backbones.efficientnet_v2.EnhancedConvModule',
    Branch(_enhanced_conv, 'drop_path', exists=_has_skip),
)

# Meets what came in before the blocks.
register_fixed_batch('mmseg.models.backbones.fast_scnn.FastSCNN')
