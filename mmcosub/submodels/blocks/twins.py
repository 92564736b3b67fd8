"""Twins (PCPVT and SVT) of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import IDENTITY, norm2_ffn, set_attributes


def _local(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    return block.attn(block.norm1(x), hw_shape)


def _mmpretrain_global(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, out_drop=IDENTITY):
        return block.attn(block.norm1(x), hw_shape)


def _mmseg_global(block: Any, x: Tensor, hw_shape: tuple[int, int]) -> Tensor:
    with set_attributes(block.attn, dropout_layer=IDENTITY):
        return block.attn(block.norm1(x), hw_shape, identity=0.0)


# Both packages drop most branches twice, inside and after them, so at a rate of 0.5 one
# is kept in a quarter of the cases. Here it is dropped once, as in the authors' code.
for _package, _global in (
    ('mmpretrain.models.backbones.twins', _mmpretrain_global),
    ('mmseg.models.backbones.twins', _mmseg_global),
):
    for _name, _attention in (('GSA', _global), ('LSA', _local)):
        register_block(
            f'{_package}.{_name}EncoderLayer',
            Branch(_attention, 'drop_path'),
            Branch(norm2_ffn, 'drop_path'),
        )
    # Reshapes its feature maps by the input batch.
    register_fixed_batch(f'{_package}.PCPVT')
