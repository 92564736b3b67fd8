"""Transformers of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import register_block, register_fixed_batch

from .notation import branch, branches, register

Size = tuple[int, int]

_ATTENTION = branch('ln1 -attn', 'attn.out_drop')
_FFN = branch('ln2 -ffn', 'ffn.dropout_layer')

# ---- of one resolution: ViT, DeiT3, T2T-ViT, SAM, EVA-02, BEiT, MAE, XCiT -----------


def _has_shortcut(block: Any) -> bool:
    return not block.v_shortcut


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


register(
    'mmpretrain.models.backbones',
    {
        'vision_transformer.TransformerEncoderLayer': (_ATTENTION, _FFN),
        # MMPretrain's DeiT3 uses the first norm twice and the second never.
        'deit3.DeiT3TransformerEncoderLayer': (
            _ATTENTION,
            branch('ln1 -ffn', 'ffn.dropout_layer'),
        ),
        # The layers that make tokens have another shortcut, no DropPath, and run
        # unmodified.
        't2t_vit.T2TTransformerLayer': (
            branch('ln1 -attn', 'attn.out_drop', exists=_has_shortcut),
            branch('ln2 -ffn', 'ffn.dropout_layer', exists=_has_shortcut),
        ),
        # SAM's image encoder has no DropPath on its attention.
        'vit_sam.TransformerEncoderLayer': (branch(_sam_attention), _FFN),
        'vit_eva02.EVA02EndcoderLayer': branches('norm1 attn()', 'norm2 mlp'),
        # MMPretrain drops the FFN twice, inside and after it, so at a rate of 0.5 it is
        # kept in a quarter of the cases. Here a branch is dropped once, as in the
        # authors' code.
        'beit.BEiTTransformerEncoderLayer': branches(
            'ln1 attn() *gamma_1', 'ln2 -ffn *gamma_2'
        ),
        # One DropPath for all three. The class-attention blocks that follow have none
        # and run unmodified in every submodel.
        'xcit.XCABlock': branches(
            'norm1 attn *gamma1', 'norm3 local_mp() *gamma3', 'norm2 -ffn *gamma2'
        ),
    },
)
register(
    'mmseg.models.backbones',
    {
        # mmseg's ViT has no DropPath on its attention, whatever the rate.
        'vit.TransformerEncoderLayer': (
            branch('norm1 -attn'),
            branch('norm2 -ffn', 'ffn.dropout_layer'),
        ),
        # Also the base of MAE's layer.
        'beit.BEiTTransformerEncoderLayer': branches(
            'norm1 attn *gamma_1', 'norm2 ffn *gamma_2'
        ),
    },
)

# ---- pyramids: HiViT, Swin and SwinV2, Twins, MiT, DaViT, MViT ----------------------

# Position encodings come before each branch.
_DAVIT_FFN = branch('cpe2() norm2 -ffn', 'ffn.dropout_layer', 'cpe2()')

register(
    'mmpretrain.models.backbones',
    {
        'hivit.BlockWithRPE': (
            branch('norm1 attn() *gamma_1', 'drop_path', exists='attn'),
            branch('norm2 mlp *gamma_2', 'drop_path'),
        ),
        # mmpretrain drops before the last norm of the branch. The norm undoes the
        # scale, and its bias remains of a dropped branch. Here the whole branch is
        # dropped, as in the authors' code and timm.
        'swin_transformer_v2.SwinBlockV2': (
            branch('-attn() norm1', 'attn.drop'),
            branch('-ffn norm2', 'ffn.dropout_layer', after='norm3?'),
        ),
        # Attention over channels has no DropPath.
        'davit.SpatialBlock': (
            branch('cpe1() norm1 -attn()', 'attn.drop', 'cpe1()'),
            _DAVIT_FFN,
        ),
        'davit.ChannelBlock': (branch('cpe1() norm1 attn', None, 'cpe1()'), _DAVIT_FFN),
    },
)
_SWIN = (
    branch('norm1 -attn()', 'attn.drop'),
    branch('norm2 -ffn', 'ffn.dropout_layer'),
)
register('mmpretrain.models.backbones', {'swin_transformer.SwinBlock': _SWIN})
register('mmseg.models.backbones', {'swin.SwinBlock': _SWIN})

for _package in ('mmpretrain', 'mmseg'):
    register(
        f'{_package}.models.backbones.twins',
        {
            # Most branches are dropped twice upstream, inside and after them, so at a
            # rate of 0.5 one is kept in a quarter of the cases. Here it is dropped
            # once, as in the authors' code.
            'GSAEncoderLayer': branches('norm1 -attn()', 'norm2 -ffn'),
            'LSAEncoderLayer': branches('norm1 attn()', 'norm2 -ffn'),
        },
    )

register_block(
    'mmseg.models.backbones.mit.TransformerEncoderLayer',
    branch('norm1 -attn()', 'attn.dropout_layer'),
    branch('norm2 -ffn()', 'ffn.dropout_layer'),
)


def _mvit_attention_shortcut(block: Any, x: Tensor, in_size: Size) -> Tensor:
    if block.dim_mul_in_attention and block.proj is not None:
        x = block.proj(block.norm1(x))
    if block.pool_skip is None:
        return x
    pooled = block.pool_skip(x.transpose(1, 2).unflatten(2, tuple(in_size)))
    return pooled.flatten(2).transpose(1, 2)


def _mvit_mlp_shortcut(block: Any, x: Tensor, in_size: Size) -> Tensor:
    if block.dim_mul_in_attention or block.proj is None:
        return x
    return block.proj(block.norm2(x))


def _with_size(block: Any, x: Tensor, in_size: Size) -> tuple[Tensor, Size]:
    """Return also the size of the map, as MViT's blocks do."""
    pool = block.attn.pool_q
    height, width = (
        (size + 2 * padding - kernel) // stride + 1
        for size, padding, kernel, stride in zip(
            in_size, pool.padding, pool.kernel_size, pool.stride, strict=True
        )
    )
    return x, (height, width)


register_block(
    'mmpretrain.models.backbones.mvit.MultiScaleBlock',
    branch('norm1 attn() [0]', 'drop_path', _mvit_attention_shortcut),
    branch('norm2 mlp', 'drop_path', _mvit_mlp_shortcut),
    output=_with_size,
)

register_fixed_batch(
    # These reshape their feature maps by the input batch.
    'mmpretrain.models.backbones.hivit.HiViT',
    'mmpretrain.models.backbones.twins.PCPVT',
    'mmseg.models.backbones.twins.PCPVT',
    # Adds one class token per image after the blocks.
    'mmpretrain.models.backbones.xcit.XCiT',
    # Adds up two paths, only one of which has ViT's layers.
    'mmpretrain.models.backbones.conformer.Conformer',
)
