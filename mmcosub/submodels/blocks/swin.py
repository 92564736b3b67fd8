"""Swin and SwinV2 of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import IDENTITY, ffn_residual, set_attributes


def _swin_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, drop=IDENTITY):
        return block.attn(block.norm1(x), hw_shape)


def _swin_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    return ffn_residual(block.ffn, block.norm2(x))


for _package in (
    'mmpretrain.models.backbones.swin_transformer',
    'mmseg.models.backbones.swin',
):
    register_block(
        f'{_package}.SwinBlock',
        Branch(_swin_attention, 'attn.drop'),
        Branch(_swin_ffn, 'ffn.dropout_layer'),
    )


def _swin_v2_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, drop=IDENTITY):
        return block.norm1(block.attn(x, hw_shape))


def _swin_v2_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.ffn, dropout_layer=IDENTITY):
        return block.norm2(block.ffn(x))


def _swin_v2_extra_norm(block: Any, x: Tensor) -> Tensor:
    return block.norm3(x) if block.extra_norm else x


# mmpretrain drops before the norm that ends the branch, which undoes the scale and
# leaves the norm's bias of a dropped branch. Here a branch is dropped as a whole, as in
# the authors' code and timm.
register_block(
    'mmpretrain.models.backbones.swin_transformer_v2.SwinBlockV2',
    Branch(_swin_v2_attention, 'attn.drop'),
    Branch(_swin_v2_ffn, 'ffn.dropout_layer', after=_swin_v2_extra_norm),
)
