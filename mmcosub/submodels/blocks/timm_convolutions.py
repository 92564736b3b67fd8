"""Networks of convolutions of timm."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block


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


def _regnet(block: Any, x: Tensor) -> Tensor:
    return block.conv3(block.se(block.conv2(block.conv1(x))))


def _regnet_shortcut(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x)


def _regnet_activation(block: Any, x: Tensor) -> Tensor:
    return block.act3(x)


# RegNetX, RegNetY and RegNetZ.
register_block(
    'timm.models.regnet.Bottleneck',
    Branch(_regnet, 'drop_path', _regnet_shortcut, _regnet_activation),
)
