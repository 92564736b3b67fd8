"""Swin and SwinV2 of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, norm2_ffn, set_attributes


def _swin_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, drop=IDENTITY):
        return block.attn(block.norm1(x), hw_shape)


for _package in (
    'mmpretrain.models.backbones.swin_transformer',
    'mmseg.models.backbones.swin',
):
    register_block(
        f'{_package}.SwinBlock',
        Branch(_swin_attention, 'attn.drop'),
        Branch(norm2_ffn, 'ffn.dropout_layer'),
    )


def _swin_v2_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, drop=IDENTITY):
        return block.norm1(block.attn(x, hw_shape))


def _swin_v2_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.ffn, dropout_layer=IDENTITY):
        return block.norm2(block.ffn(x))


def _swin_v2_extra_norm(block: Any, x: Tensor) -> Tensor:
    return block.norm3(x) if block.extra_norm else x


# mmpretrain drops before the last norm of the branch. The norm undoes the scale, and
# its bias remains of a dropped branch. Here the whole branch is dropped, as in the
# authors' code and timm.
register_block(
    'mmpretrain.models.backbones.swin_transformer_v2.SwinBlockV2',
    Branch(_swin_v2_attention, 'attn.drop'),
    Branch(_swin_v2_ffn, 'ffn.dropout_layer', after=_swin_v2_extra_norm),
)
