"""Transformers of timm."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch


def _vit_attention(block: Any, x: Tensor) -> Tensor:
    return block.ls1(block.attn(block.norm1(x)))


def _vit_mlp(block: Any, x: Tensor) -> Tensor:
    return block.ls2(block.mlp(block.norm2(x)))


# Of PiT, too.
register_block(
    'timm.models.vision_transformer.Block',
    Branch(_vit_attention, 'drop_path1'),
    Branch(_vit_mlp, 'drop_path2'),
)


def _swin_attention(block: Any, x: Tensor) -> Tensor:
    return block._attn(block.norm1(x))


def _swin_mlp(block: Any, x: Tensor) -> Tensor:
    return block.mlp(block.norm2(x))


register_block(
    'timm.models.swin_transformer.SwinTransformerBlock',
    Branch(_swin_attention, 'drop_path1'),
    Branch(_swin_mlp, 'drop_path2'),
)


def _swin_v2_attention(block: Any, x: Tensor) -> Tensor:
    return block.norm1(block._attn(x))


def _swin_v2_mlp(block: Any, x: Tensor) -> Tensor:
    return block.norm2(block.mlp(x))


register_block(
    'timm.models.swin_transformer_v2.SwinTransformerV2Block',
    Branch(_swin_v2_attention, 'drop_path1'),
    Branch(_swin_v2_mlp, 'drop_path2'),
)


def _xcit_attention(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma1 * block.attn(block.norm1(x))


def _xcit_local(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma3 * block.local_mp(block.norm3(x), *hw)


def _xcit_mlp(block: Any, x: Tensor, *hw: int) -> Tensor:
    return block.gamma2 * block.mlp(block.norm2(x))


register_block(
    'timm.models.xcit.XCABlock',
    Branch(_xcit_attention, 'drop_path1'),
    Branch(_xcit_local, 'drop_path3'),
    Branch(_xcit_mlp, 'drop_path2'),
)

register_fixed_batch(
    'timm.models.xcit.Xcit',  # a class token per image comes in behind these blocks
    'timm.models.pit.Transformer',  # its output is reshaped by its input's batch
    'timm.models._features.FeatureGetterNet',  # features are, too
)
