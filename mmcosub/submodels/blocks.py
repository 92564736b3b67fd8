"""The known blocks of mmpretrain and mmseg: where their residual branches are.

To add one, write its residual functions and register them under the class's full name.
A residual function runs the branch as the stock block does, up to but not including
its drop path, and must not depend on which other rows are in the batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from .branches import Branch, register_block, register_fixed_batch


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


def _swin_v2_attention(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with _set(block.attn, drop=_IDENTITY):
        return block.norm1(block.attn(x, hw_shape))


def _swin_v2_ffn(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with _set(block.ffn, dropout_layer=_IDENTITY):
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


def _basic_block(block: Any, x: Tensor) -> Tensor:
    x = block.relu(block.norm1(block.conv1(x)))
    return block.norm2(block.conv2(x))


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    x = block.relu(block.norm1(block.conv1(x)))
    x = block.relu(block.norm2(block.conv2(x)))
    return block.norm3(block.conv3(x))


def _resnet_shortcut(block: Any, x: Tensor) -> Tensor:
    return x if block.downsample is None else block.downsample(x)


def _resnet_activation(block: Any, x: Tensor) -> Tensor:
    # Out of place: the rows of a skipped branch are the very tensor that came in.
    with _set(block.relu, inplace=False):
        return block.relu(x)


for _name, _residual in (('BasicBlock', _basic_block), ('Bottleneck', _bottleneck)):
    register_block(
        f'mmpretrain.models.backbones.resnet.{_name}',
        Branch(_residual, 'drop_path', _resnet_shortcut, _resnet_activation),
    )


def _xcit_attention(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma1 * block.attn(block.norm1(x))


def _xcit_local(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma3 * block.local_mp(block.norm3(x), *hw)


def _xcit_ffn(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma2 * block.ffn(block.norm2(x), identity=0)


# One drop path for all three. The class-attention blocks that follow have none and run
# whole, in every submodel.
register_block(
    'mmpretrain.models.backbones.xcit.XCABlock',
    Branch(_xcit_attention, 'drop_path'),
    Branch(_xcit_local, 'drop_path'),
    Branch(_xcit_ffn, 'drop_path'),
)
# It adds one class token per image behind these blocks.
register_fixed_batch('mmpretrain.models.backbones.xcit.XCiT')
