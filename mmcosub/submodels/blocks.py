"""The known blocks: where each one's residual branches are.

To add one, write its residual functions and register them under the class's full name.
A residual function runs the branch as the stock block does, up to but not including
its drop path, and must not depend on which other rows are in the batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .branches import Branch, register_block


@contextmanager
def _set(module: nn.Module, **values: Any) -> Iterator[None]:
    """Set attributes of a module for the duration of one call.

    Set and restored inside the residual function, not around the whole forward, so
    that activation checkpointing recomputes the very same thing during backward.
    """
    saved = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in saved.items():
            setattr(module, name, value)


def _ffn(ffn: Any, x: Tensor) -> Tensor:
    """MMCV's and MMPretrain's FFNs without their shortcut and drop path."""
    with _set(ffn, add_identity=False, dropout_layer=_IDENTITY):
        return ffn(x)


_IDENTITY = nn.Identity()


def _vit_attention(block: Any, x: Tensor) -> Tensor:
    with _set(block.attn, out_drop=_IDENTITY):
        return block.attn(block.ln1(x))


def _vit_ffn(block: Any, x: Tensor) -> Tensor:
    return _ffn(block.ffn, block.ln2(x))


register_block(
    'mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer',
    Branch(_vit_attention, 'attn.out_drop'),
    Branch(_vit_ffn, 'ffn.dropout_layer'),
)


def _swin_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with _set(block.attn, drop=_IDENTITY):
        return block.attn(block.norm1(x), hw_shape)


def _swin_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    return _ffn(block.ffn, block.norm2(x))


for _package in (
    'mmpretrain.models.backbones.swin_transformer',
    'mmseg.models.backbones.swin',
):
    register_block(
        f'{_package}.SwinBlock',
        Branch(_swin_attention, 'attn.drop'),
        Branch(_swin_ffn, 'ffn.dropout_layer'),
    )


def _mmseg_vit_attention(block: Any, x: Tensor) -> Tensor:
    return block.attn(block.norm1(x), identity=0)


def _mmseg_vit_ffn(block: Any, x: Tensor) -> Tensor:
    return _ffn(block.ffn, block.norm2(x))


# mmseg's ViT has no drop path on its attention, whatever the rate.
register_block(
    'mmseg.models.backbones.vit.TransformerEncoderLayer',
    Branch(_mmseg_vit_attention),
    Branch(_mmseg_vit_ffn, 'ffn.dropout_layer'),
)


def _mit_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with _set(block.attn, dropout_layer=_IDENTITY):
        return block.attn(block.norm1(x), hw_shape, identity=0)


def _mit_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with _set(block.ffn, dropout_layer=_IDENTITY):
        return block.ffn(block.norm2(x), hw_shape, identity=0)


# SegFormer's backbone.
register_block(
    'mmseg.models.backbones.mit.TransformerEncoderLayer',
    Branch(_mit_attention, 'attn.dropout_layer'),
    Branch(_mit_ffn, 'ffn.dropout_layer'),
)
