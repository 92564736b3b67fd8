"""Hybrids of transformers and convolutions of MMPretrain: TinyViT, LeViT, ViG."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import activation, chain

register_block(
    'mmpretrain.models.backbones.tinyvit.MBConvBlock',
    Branch(chain('conv1 act conv2 act conv3'), 'drop_path', after=activation('act')),
)


def _tiny_vit_attention(block: Any, x: Tensor) -> Tensor:
    height, width = block.img_size
    window = block.window_size
    if height == window and width == window:
        return block.attn(x)
    rows, _, channels = x.shape
    x = x.view(rows, height, width, channels)
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    padded = x.shape[1:3]
    down, across = (side // window for side in padded)
    x = x.view(rows, down, window, across, window, channels).transpose(2, 3)
    x = block.attn(x.reshape(-1, window * window, channels))
    x = x.view(rows, down, across, window, window, channels).transpose(2, 3)
    x = x.reshape(rows, *padded, channels)
    return x[:, :height, :width].reshape(rows, height * width, channels)


def _tiny_vit_convolution(block: Any, x: Tensor) -> Tensor:
    x = x.transpose(1, 2).unflatten(2, block.img_size)
    return block.local_conv(x.contiguous()).flatten(2).transpose(1, 2)


register_block(
    'mmpretrain.models.backbones.tinyvit.TinyViTBlock',
    Branch(_tiny_vit_attention, 'drop_path', after=_tiny_vit_convolution),
    Branch(chain('mlp'), 'drop_path'),
)
register_block(
    'mmpretrain.models.backbones.levit.Residual', Branch(chain('block'), 'drop_path')
)


def _graph(block: Any, x: Tensor) -> Tensor:
    positions = block._get_relative_pos(block.relative_pos, *x.shape[2:])
    return block.fc2(block.graph_conv(block.fc1(x), positions))


register_block('mmpretrain.models.backbones.vig.Grapher', Branch(_graph, 'drop_path'))
register_block(
    'mmpretrain.models.backbones.vig.FFN', Branch(chain('fc1 act fc2'), 'drop_path')
)

# The rows of its transformer are positions in a patch, not images. So it runs
# unmodified, and only the inverted residuals between have branches.
register_block('mmpretrain.models.backbones.mobilevit.MobileVitBlock')
