"""MetaFormers of MMPretrain: PoolFormer, RIFormer, EfficientFormer, VAN.

Also MMSegmentation's MSCAN (SegNeXt), which resembles VAN.
"""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import chain, layer_scaled


def _mixer(block: Any, x: Tensor) -> Tensor:
    return layer_scaled(block.layer_scale_1, block.token_mixer(block.norm1(x)))


def _mlp(block: Any, x: Tensor) -> Tensor:
    return layer_scaled(block.layer_scale_2, block.mlp(block.norm2(x)))


register_block(
    'mmpretrain.models.backbones.poolformer.PoolFormerBlock',
    Branch(_mixer, 'drop_path'),
    Branch(_mlp, 'drop_path'),
)


def _affine(block: Any, x: Tensor) -> Tensor:
    if hasattr(block, 'norm_reparam'):  # as deployed
        return layer_scaled(block.layer_scale_1, block.norm_reparam(x))
    return _mixer(block, x)


register_block(
    'mmpretrain.models.backbones.riformer.RIFormerBlock',
    Branch(_affine, 'drop_path'),
    Branch(_mlp, 'drop_path'),
)


for _name, _first, _second in (
    ('Meta3D', 'norm1 token_mixer ls1', 'norm2 mlp ls2'),
    ('Meta4D', 'token_mixer ls1', 'mlp ls2'),
):
    register_block(
        f'mmpretrain.models.backbones.efficientformer.{_name}',
        Branch(chain(_first), 'drop_path'),
        Branch(chain(_second), 'drop_path'),
    )
# Reshapes its last feature map by the input of the last stage.
register_fixed_batch('mmpretrain.models.backbones.efficientformer.EfficientFormer')


def _attention(block: Any, x: Tensor) -> Tensor:
    return layer_scaled(block.layer_scale_1, block.attn(block.norm1(x)))


register_block(
    'mmpretrain.models.backbones.van.VANBlock',
    Branch(_attention, 'drop_path'),
    Branch(_mlp, 'drop_path'),
)


def _as_map(x: Tensor, height: int, width: int) -> Tensor:
    return x.transpose(1, 2).unflatten(2, (height, width))


def _as_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _mscan_attention(block: Any, x: Tensor, height: int, width: int) -> Tensor:
    return _as_tokens(_attention(block, _as_map(x, height, width)))


def _mscan_mlp(block: Any, x: Tensor, height: int, width: int) -> Tensor:
    return _as_tokens(_mlp(block, _as_map(x, height, width)))


register_block(
    'mmseg.models.backbones.mscan.MSCABlock',
    Branch(_mscan_attention, 'drop_path'),
    Branch(_mscan_mlp, 'drop_path'),
)
# Reshapes its feature maps by the input batch.
register_fixed_batch('mmseg.models.backbones.mscan.MSCAN')
