"""Plain vision transformers of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, ffn_residual, set_attributes


def _vit_attention(block: Any, x: Tensor) -> Tensor:
    with set_attributes(block.attn, out_drop=IDENTITY):
        return block.attn(block.ln1(x))


def _vit_ffn(block: Any, x: Tensor) -> Tensor:
    return ffn_residual(block.ffn, block.ln2(x))


register_block(
    'mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer',
    Branch(_vit_attention, 'attn.out_drop'),
    Branch(_vit_ffn, 'ffn.dropout_layer'),
)


def _mmseg_vit_attention(block: Any, x: Tensor) -> Tensor:
    return block.attn(block.norm1(x), identity=0)


def _mmseg_vit_ffn(block: Any, x: Tensor) -> Tensor:
    return ffn_residual(block.ffn, block.norm2(x))


# mmseg's ViT has no drop path on its attention, whatever the rate.
register_block(
    'mmseg.models.backbones.vit.TransformerEncoderLayer',
    Branch(_mmseg_vit_attention),
    Branch(_mmseg_vit_ffn, 'ffn.dropout_layer'),
)
