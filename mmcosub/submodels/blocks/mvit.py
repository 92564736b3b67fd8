"""MViT of MMPretrain, whose blocks also return the size of their map."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block

from .common import chain

Size = tuple[int, int]


def _attention(block: Any, x: Tensor, in_size: Size) -> Tensor:
    return block.attn(block.norm1(x), in_size)[0]


def _attention_shortcut(block: Any, x: Tensor, in_size: Size) -> Tensor:
    if block.dim_mul_in_attention and block.proj is not None:
        x = block.proj(block.norm1(x))
    if block.pool_skip is None:
        return x
    pooled = block.pool_skip(x.transpose(1, 2).unflatten(2, tuple(in_size)))
    return pooled.flatten(2).transpose(1, 2)


def _mlp_shortcut(block: Any, x: Tensor, in_size: Size) -> Tensor:
    if block.dim_mul_in_attention or block.proj is None:
        return x
    return block.proj(block.norm2(x))


def _with_size(block: Any, x: Tensor, in_size: Size) -> tuple[Tensor, Size]:
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
    Branch(_attention, 'drop_path', _attention_shortcut),
    Branch(chain('norm2 mlp'), 'drop_path', _mlp_shortcut),
    output=_with_size,
)
