"""DaViT of MMPretrain, whose position encodings come before each branch."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, ffn_residual, set_attributes

Size = tuple[int, int]


def _attention_shortcut(block: Any, x: Tensor, hw_shape: Size) -> Tensor:
    return block.cpe1(x, hw_shape)


def _ffn_shortcut(block: Any, x: Tensor, hw_shape: Size) -> Tensor:
    return block.cpe2(x, hw_shape)


def _spatial_attention(block: Any, x: Tensor, hw_shape: Size) -> Tensor:
    x = block.norm1(block.cpe1(x, hw_shape))
    with set_attributes(block.attn, drop=IDENTITY):
        return block.attn(x, hw_shape)


def _channel_attention(block: Any, x: Tensor, hw_shape: Size) -> Tensor:
    return block.attn(block.norm1(block.cpe1(x, hw_shape)))


def _ffn(block: Any, x: Tensor, hw_shape: Size) -> Tensor:
    return ffn_residual(block.ffn, block.norm2(block.cpe2(x, hw_shape)))


# Attention over channels has no DropPath.
for _name, _attention, _drop_path in (
    ('SpatialBlock', _spatial_attention, 'attn.drop'),
    ('ChannelBlock', _channel_attention, None),
):
    register_block(
        f'mmpretrain.models.backbones.davit.{_name}',
        Branch(_attention, _drop_path, _attention_shortcut),
        Branch(_ffn, 'ffn.dropout_layer', _ffn_shortcut),
    )
