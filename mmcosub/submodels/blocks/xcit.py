"""XCiT of MMPretrain."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch


def _xcit_attention(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma1 * block.attn(block.norm1(x))


def _xcit_local(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma3 * block.local_mp(block.norm3(x), *hw)


def _xcit_ffn(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma2 * block.ffn(block.norm2(x), identity=0)


# One DropPath for all three. The class-attention blocks that follow have none and run
# unmodified in every submodel.
register_block(
    'mmpretrain.models.backbones.xcit.XCABlock',
    Branch(_xcit_attention, 'drop_path'),
    Branch(_xcit_local, 'drop_path'),
    Branch(_xcit_ffn, 'drop_path'),
)
# Adds one class token per image after these blocks.
register_fixed_batch('mmpretrain.models.backbones.xcit.XCiT')
