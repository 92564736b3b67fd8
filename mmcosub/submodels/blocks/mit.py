"""SegFormer's backbone of MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, set_attributes


def _mit_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, dropout_layer=IDENTITY):
        return block.attn(block.norm1(x), hw_shape, identity=0)


def _mit_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.ffn, dropout_layer=IDENTITY):
        return block.ffn(block.norm2(x), hw_shape, identity=0)


register_block(
    'mmseg.models.backbones.mit.TransformerEncoderLayer',
    Branch(_mit_attention, 'attn.dropout_layer'),
    Branch(_mit_ffn, 'ffn.dropout_layer'),
)
