"""Plain vision transformers of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import IDENTITY, chain, ffn_residual, norm2_ffn, set_attributes


def _attention(block: Any, x: Tensor) -> Tensor:
    with set_attributes(block.attn, out_drop=IDENTITY):
        return block.attn(block.ln1(x))


def _ffn(block: Any, x: Tensor) -> Tensor:
    return ffn_residual(block.ffn, block.ln2(x))


register_block(
    'mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer',
    Branch(_attention, 'attn.out_drop'),
    Branch(_ffn, 'ffn.dropout_layer'),
)


def _deit3_ffn(block: Any, x: Tensor) -> Tensor:
    # MMPretrain's DeiT3 uses the first norm twice and the second never.
    return ffn_residual(block.ffn, block.ln1(x))


register_block(
    'mmpretrain.models.backbones.deit3.DeiT3TransformerEncoderLayer',
    Branch(_attention, 'attn.out_drop'),
    Branch(_deit3_ffn, 'ffn.dropout_layer'),
)


def _has_shortcut(block: Any) -> bool:
    return not block.v_shortcut


# The layers that make tokens have another shortcut, no DropPath, and run unmodified.
register_block(
    'mmpretrain.models.backbones.t2t_vit.T2TTransformerLayer',
    Branch(_attention, 'attn.out_drop', exists=_has_shortcut),
    Branch(_ffn, 'ffn.dropout_layer', exists=_has_shortcut),
)


def _sam_attention(block: Any, x: Tensor) -> Tensor:
    # Imported here, since only SAM needs all of MMPretrain.
    from mmpretrain.models.backbones.vit_sam import (
        window_partition,
        window_unpartition,
    )

    x = block.ln1(x)
    if block.window_size == 0:
        return block.attn(x)
    size = x.shape[1:3]
    windows, padded = window_partition(x, block.window_size)
    return window_unpartition(block.attn(windows), block.window_size, padded, size)


# SAM's image encoder has no DropPath on its attention.
register_block(
    'mmpretrain.models.backbones.vit_sam.TransformerEncoderLayer',
    Branch(_sam_attention),
    Branch(_ffn, 'ffn.dropout_layer'),
)


def _normed_attention(block: Any, x: Tensor, patch_resolution: Any) -> Tensor:
    return block.attn(block.norm1(x), patch_resolution)


register_block(
    'mmpretrain.models.backbones.vit_eva02.EVA02EndcoderLayer',
    Branch(_normed_attention, 'drop_path'),
    Branch(chain('norm2 mlp'), 'drop_path'),
)


def _mmseg_attention(block: Any, x: Tensor) -> Tensor:
    return block.attn(block.norm1(x), identity=0)


# mmseg's ViT has no DropPath on its attention, whatever the rate.
register_block(
    'mmseg.models.backbones.vit.TransformerEncoderLayer',
    Branch(_mmseg_attention),
    Branch(norm2_ffn, 'ffn.dropout_layer'),
)


def _hivit_attention(block: Any, x: Tensor, *args: Any) -> Tensor:
    x = block.attn(block.norm1(x), *args)
    return x if block.gamma_1 is None else block.gamma_1 * x


def _hivit_mlp(block: Any, x: Tensor, *args: Any) -> Tensor:
    x = block.mlp(block.norm2(x))
    return x if block.gamma_2 is None else block.gamma_2 * x


def _has_attention(block: Any) -> bool:
    return block.attn is not None


register_block(
    'mmpretrain.models.backbones.hivit.BlockWithRPE',
    Branch(_hivit_attention, 'drop_path', exists=_has_attention),
    Branch(_hivit_mlp, 'drop_path'),
)
register_fixed_batch(
    # Reshapes its feature maps by the input batch.
    'mmpretrain.models.backbones.hivit.HiViT',
    # Adds up two paths, only one of which has ViT's layers.
    'mmpretrain.models.backbones.conformer.Conformer',
)
