"""Transformers of MMPretrain and MMSegmentation.

Of one resolution: ViT, DeiT3, T2T-ViT, SAM, EVA-02, BEiT, MAE, XCiT. Pyramids: HiViT,
Swin and SwinV2, Twins, MiT, DaViT, MViT.
"""

from typing import Any

from torch import Tensor

from .notation import register

Size = tuple[int, int]


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


register(
    """
[mmpretrain.models.backbones]
vision_transformer.TransformerEncoderLayer
    ln1 -attn  @attn.out_drop
    ln2 -ffn   @ffn.dropout_layer
deit3.DeiT3TransformerEncoderLayer  # uses the first norm twice and the second never
    ln1 -attn  @attn.out_drop
    ln1 -ffn   @ffn.dropout_layer

# The layers that make tokens have another shortcut, no DropPath, and run unmodified.
t2t_vit.T2TTransformerLayer
    ln1 -attn  @attn.out_drop      if {_has_shortcut}
    ln2 -ffn   @ffn.dropout_layer  if {_has_shortcut}
vit_sam.TransformerEncoderLayer
    {_sam_attention}               # has no DropPath
    ln2 -ffn   @ffn.dropout_layer
vit_eva02.EVA02EndcoderLayer
    norm1 attn()  @drop_path
    norm2 mlp     @drop_path

# MMPretrain drops the FFN twice, inside and after it, so at a rate of 0.5 it is kept in
# a quarter of the cases. Here a branch is dropped once, as in the authors' code.
beit.BEiTTransformerEncoderLayer
    ln1 attn() *gamma_1  @drop_path
    ln2 -ffn *gamma_2    @drop_path

# One DropPath for all three. The class-attention blocks that follow have none and run
# unmodified in every submodel.
xcit.XCABlock
    norm1 attn *gamma1        @drop_path
    norm3 local_mp() *gamma3  @drop_path
    norm2 -ffn *gamma2        @drop_path

hivit.BlockWithRPE
    norm1 attn() *gamma_1  @drop_path  if attn
    norm2 mlp *gamma_2     @drop_path

# MMPretrain drops before the last norm of the branch. The norm undoes the scale, and
# its bias remains of a dropped branch. Here the whole branch is dropped, as in the
# authors' code and timm.
swin_transformer_v2.SwinBlockV2
    -attn() norm1  @attn.drop
    -ffn norm2     @ffn.dropout_layer  then norm3?

# Position encodings come before each branch. Attention over channels has no DropPath.
davit.SpatialBlock
    cpe1() norm1 -attn()  @attn.drop          + cpe1()
    cpe2() norm2 -ffn     @ffn.dropout_layer  + cpe2()
davit.ChannelBlock
    cpe1() norm1 attn                         + cpe1()
    cpe2() norm2 -ffn     @ffn.dropout_layer  + cpe2()

mvit.MultiScaleBlock
    norm1 attn() [0]  @drop_path  + {_mvit_attention_shortcut}
    norm2 mlp         @drop_path  + {_mvit_mlp_shortcut}  then {_with_size}

[mmseg.models.backbones]
vit.TransformerEncoderLayer
    norm1 -attn  # has no DropPath, whatever the rate
    norm2 -ffn   @ffn.dropout_layer
beit.BEiTTransformerEncoderLayer  # also the base of MAE's layer
    norm1 attn *gamma_1  @drop_path
    norm2 ffn *gamma_2   @drop_path
mit.TransformerEncoderLayer
    norm1 -attn()  @attn.dropout_layer
    norm2 -ffn()   @ffn.dropout_layer

[mmpretrain.models.backbones.swin_transformer mmseg.models.backbones.swin]
SwinBlock
    norm1 -attn()  @attn.drop
    norm2 -ffn     @ffn.dropout_layer

# Most branches of Twins are dropped twice upstream, inside and after them, so at a rate
# of 0.5 one is kept in a quarter of the cases. Here it is dropped once, as in the
# authors' code.
[mmpretrain.models.backbones.twins mmseg.models.backbones.twins]
GSAEncoderLayer
    norm1 -attn()  @drop_path
    norm2 -ffn     @drop_path
LSAEncoderLayer
    norm1 attn()  @drop_path
    norm2 -ffn    @drop_path
""",
    globals(),
)
