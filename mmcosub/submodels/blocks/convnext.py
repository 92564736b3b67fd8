"""ConvNeXt of MMPretrain."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block


def _convnext(block: Any, x: Tensor) -> Tensor:
    x = block.depthwise_conv(x)
    layout = 'channel_last' if block.linear_pw_conv else 'channel_first'
    if block.linear_pw_conv:
        x = x.permute(0, 2, 3, 1)
    x = block.act(block.pointwise_conv1(block.norm(x, data_format=layout)))
    if block.grn is not None:
        x = block.grn(x, data_format=layout)
    x = block.pointwise_conv2(x)
    if block.linear_pw_conv:
        x = x.permute(0, 3, 1, 2)
    return x if block.gamma is None else x * block.gamma.view(1, -1, 1, 1)


# V1 and V2 (which has `grn`).
register_block(
    'mmpretrain.models.backbones.convnext.ConvNeXtBlock',
    Branch(_convnext, 'drop_path'),
)
