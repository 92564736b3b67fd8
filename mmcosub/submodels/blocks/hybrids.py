"""MetaFormers and hybrids of transformers and convolutions.

PoolFormer, RIFormer, EfficientFormer, VAN, TinyViT, LeViT, ViG and MobileViT of
MMPretrain, and MMSegmentation's MSCAN (SegNeXt), which resembles VAN.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from mmcosub.submodels.branches import register_block

from .notation import register


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


def _graph(block: Any, x: Tensor) -> Tensor:
    positions = block._get_relative_pos(block.relative_pos, *x.shape[2:])
    return block.fc2(block.graph_conv(block.fc1(x), positions))


def _as_map(block: Any, x: Tensor, height: int, width: int) -> Tensor:
    return x.transpose(1, 2).unflatten(2, (height, width))


def _as_tokens(block: Any, x: Tensor, height: int, width: int) -> Tensor:
    return x.flatten(2).transpose(1, 2)


register(
    """
[mmpretrain.models.backbones]
poolformer.PoolFormerBlock
    norm1 token_mixer *layer_scale_1:  @drop_path
    norm2 mlp *layer_scale_2:          @drop_path
riformer.RIFormerBlock  # with `norm_reparam` alone once reparametrised
    norm1? token_mixer? norm_reparam? *layer_scale_1:  @drop_path
    norm2 mlp *layer_scale_2:                          @drop_path
efficientformer.Meta3D
    norm1 token_mixer ls1  @drop_path
    norm2 mlp ls2          @drop_path
efficientformer.Meta4D
    token_mixer ls1  @drop_path
    mlp ls2          @drop_path
van.VANBlock
    norm1 attn *layer_scale_1:  @drop_path
    norm2 mlp *layer_scale_2:   @drop_path
tinyvit.MBConvBlock: conv1 act conv2 act conv3  @drop_path  then act!
tinyvit.TinyViTBlock
    {_tiny_vit_attention}  @drop_path  then {_tiny_vit_convolution}
    mlp                    @drop_path
levit.Residual: block  @drop_path
vig.Grapher: {_graph}  @drop_path
vig.FFN: fc1 act fc2  @drop_path

[mmseg.models.backbones.mscan]
MSCABlock
    {_as_map} norm1 attn *layer_scale_1: {_as_tokens}  @drop_path
    {_as_map} norm2 mlp *layer_scale_2: {_as_tokens}   @drop_path
""",
    globals(),
)

# The rows of its transformer are positions in a patch, not images. So it runs
# unmodified, and only the inverted residuals between have branches.
register_block('mmpretrain.models.backbones.mobilevit.MobileVitBlock')
