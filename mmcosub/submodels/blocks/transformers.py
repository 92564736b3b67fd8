"""Transformers of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import register_block, register_fixed_batch

from .notation import FFN, bare, branch, branches, register

Size = tuple[int, int]

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


_ATTENTION = 'ln1', bare('attn', 'out_drop')

register(
    'mmpretrain.models.backbones',
    {
        'vision_transformer.TransformerEncoderLayer': (
            branch(_ATTENTION, 'attn.out_drop'),
            branch(('ln2', FFN), 'ffn.dropout_layer'),
        ),
        # MMPretrain's DeiT3 uses the first norm twice and the second never.
        'deit3.DeiT3TransformerEncoderLayer': (
            branch(_ATTENTION, 'attn.out_drop'),
            branch(('ln1', FFN), 'ffn.dropout_layer'),
        ),
        # The layers that make tokens have another shortcut, no DropPath, and run
        # unmodified.
        't2t_vit.T2TTransformerLayer': (
            branch(_ATTENTION, 'attn.out_drop', exists=_has_shortcut),
            branch(('ln2', FFN), 'ffn.dropout_layer', exists=_has_shortcut),
        ),
        # SAM's image encoder has no DropPath on its attention.
        'vit_sam.TransformerEncoderLayer': (
            branch(_sam_attention),
            branch(('ln2', FFN), 'ffn.dropout_layer'),
        ),
        'vit_eva02.EVA02EndcoderLayer': branches('norm1 attn()', 'norm2 mlp'),
        # MMPretrain drops the FFN twice, inside and after it, so at a rate of 0.5 it is
        # kept in a quarter of the cases. Here a branch is dropped once, as in the
        # authors' code.
        'beit.BEiTTransformerEncoderLayer': branches(
            'ln1 attn() *gamma_1', ('ln2', FFN, '*gamma_2')
        ),
        # One DropPath for all three. The class-attention blocks that follow have none
        # and run unmodified in every submodel.
        'xcit.XCABlock': branches(
            'norm1 attn *gamma1',
            'norm3 local_mp() *gamma3',
            ('norm2', bare('ffn', identity=0), '*gamma2'),
        ),
    },
)
register(
    'mmseg.models.backbones',
    {
        # mmseg's ViT has no DropPath on its attention, whatever the rate.
        'vit.TransformerEncoderLayer': (
            branch(('norm1', bare('attn', identity=0))),
            branch(('norm2', FFN), 'ffn.dropout_layer'),
        ),
        # Also the base of MAE's layer.
        'beit.BEiTTransformerEncoderLayer': branches(
            'norm1 attn *gamma_1', 'norm2 ffn *gamma_2'
        ),
    },
)

# ---- pyramids: HiViT, Swin and SwinV2, Twins, MiT, DaViT, MViT ----------------------


def _has_attention(block: Any) -> bool:
    return block.attn is not None


def _extra_norm(block: Any, x: Tensor) -> Tensor:
    return block.norm3(x) if block.extra_norm else x


# Position encodings come before each branch.
_DAVIT_FFN = branch(('cpe2() norm2', FFN), 'ffn.dropout_layer', 'cpe2()')
_WINDOWED = bare('attn', 'drop', given=True)

register(
    'mmpretrain.models.backbones',
    {
        'hivit.BlockWithRPE': (
            branch('norm1 attn() *gamma_1', 'drop_path', exists=_has_attention),
            branch('norm2 mlp *gamma_2', 'drop_path'),
        ),
        # mmpretrain drops before the last norm of the branch. The norm undoes the
        # scale, and its bias remains of a dropped branch. Here the whole branch is
        # dropped, as in the authors' code and timm.
        'swin_transformer_v2.SwinBlockV2': (
            branch((_WINDOWED, 'norm1'), 'attn.drop'),
            branch((FFN, 'norm2'), 'ffn.dropout_layer', after=_extra_norm),
        ),
        # Attention over channels has no DropPath.
        'davit.SpatialBlock': (
            branch(('cpe1() norm1', _WINDOWED), 'attn.drop', 'cpe1()'),
            _DAVIT_FFN,
        ),
        'davit.ChannelBlock': (
            branch('cpe1() norm1 attn', None, 'cpe1()'),
            _DAVIT_FFN,
        ),
    },
)
for _package in (
    'mmpretrain.models.backbones.swin_transformer',
    'mmseg.models.backbones.swin',
):
    register_block(
        f'{_package}.SwinBlock',
        branch(('norm1', _WINDOWED), 'attn.drop'),
        branch(('norm2', FFN), 'ffn.dropout_layer'),
    )

# Both packages drop most of Twins's branches twice, inside and after them, so at a rate
# of 0.5 one is kept in a quarter of the cases. Here it is dropped once, as in the
# authors' code.
for _package, _drop, _options in (
    ('mmpretrain.models.backbones.twins', 'out_drop', {}),
    ('mmseg.models.backbones.twins', 'dropout_layer', dict(identity=0.0)),
):
    _global = bare('attn', _drop, given=True, **_options)
    register(
        _package,
        {
            'GSAEncoderLayer': branches(('norm1', _global), ('norm2', FFN)),
            'LSAEncoderLayer': branches('norm1 attn()', ('norm2', FFN)),
        },
    )

_attention, _ffn = (
    bare(name, 'dropout_layer', given=True, identity=0) for name in ('attn', 'ffn')
)
register_block(
    'mmseg.models.backbones.mit.TransformerEncoderLayer',
    branch(('norm1', _attention), 'attn.dropout_layer'),
    branch(('norm2', _ffn), 'ffn.dropout_layer'),
)


def _mvit_attention(block: Any, x: Tensor, in_size: Size) -> Tensor:
    return block.attn(block.norm1(x), in_size)[0]


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
    branch(_mvit_attention, 'drop_path', _mvit_attention_shortcut),
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
