"""BEiT of MMPretrain and MMSegmentation, and MMSegmentation's MAE."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import ffn_residual


def _attention(block: Any, x: Tensor, rel_pos_bias: Tensor | None) -> Tensor:
    x = block.attn(block.ln1(x), rel_pos_bias=rel_pos_bias)
    return x if block.gamma_1 is None else block.gamma_1 * x


def _ffn(block: Any, x: Tensor, rel_pos_bias: Tensor | None) -> Tensor:
    x = ffn_residual(block.ffn, block.ln2(x))
    return x if block.gamma_2 is None else block.gamma_2 * x


# MMPretrain drops the FFN twice, inside and after it, so at a rate of 0.5 it is kept in
# a quarter of the cases. Here a branch is dropped once, as in the authors' code.
register_block(
    'mmpretrain.models.backbones.beit.BEiTTransformerEncoderLayer',
    Branch(_attention, 'drop_path'),
    Branch(_ffn, 'drop_path'),
)


def _mmseg_attention(block: Any, x: Tensor) -> Tensor:
    return block.gamma_1 * block.attn(block.norm1(x))


def _mmseg_ffn(block: Any, x: Tensor) -> Tensor:
    return block.gamma_2 * block.ffn(block.norm2(x))


# Also the base of MAE's layer.
register_block(
    'mmseg.models.backbones.beit.BEiTTransformerEncoderLayer',
    Branch(_mmseg_attention, 'drop_path'),
    Branch(_mmseg_ffn, 'drop_path'),
)
