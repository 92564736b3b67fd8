"""Hierarchical transformers of timm.

Swin and SwinV2, PVTv2, Twins, Hiera, MaxViT and FocalNet.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import chain

register_block(
    'timm.models.swin_transformer.SwinTransformerBlock',
    Branch(chain('norm1 _attn'), 'drop_path1'),
    Branch(chain('norm2 mlp'), 'drop_path2'),
)
register_block(
    'timm.models.swin_transformer_v2.SwinTransformerV2Block',
    Branch(chain('_attn norm1'), 'drop_path1'),
    Branch(chain('mlp norm2'), 'drop_path2'),
)
register_block(
    'timm.models.swin_transformer_v2_cr.SwinTransformerV2CrBlock',
    Branch(chain('_shifted_window_attn norm1'), 'drop_path1'),
    Branch(chain('mlp norm2'), 'drop_path2', after=chain('norm3')),
)


def _sized_attention(block: Any, x: Tensor, size: Any) -> Tensor:
    return block.attn(block.norm1(x), size)


def _sized_mlp(block: Any, x: Tensor, size: Any) -> Tensor:
    return block.mlp(block.norm2(x), size)


for _name, _mlp in (('pvt_v2', _sized_mlp), ('twins', chain('norm2 mlp'))):
    register_block(
        f'timm.models.{_name}.Block',
        Branch(_sized_attention, 'drop_path1'),
        Branch(_mlp, 'drop_path2'),
    )
# They reshape their feature maps by the input batch.
register_fixed_batch(
    'timm.models.pvt_v2.PyramidVisionTransformerStage', 'timm.models.twins.Twins'
)


def _hiera_shortcut(block: Any, x: Tensor) -> Tensor:
    if not block.do_expand:
        return x
    y = x if block.proj is None else block.proj(block.norm1(x))
    y = y.unflatten(1, (block.attn.q_stride, -1))
    if block.proj is None:
        return torch.cat([y.amax(dim=1), y.mean(dim=1)], dim=-1)
    return y.amax(dim=1)


register_block(
    'timm.models.hiera.HieraBlock',
    Branch(chain('norm1 attn ls1'), 'drop_path1', _hiera_shortcut),
    Branch(chain('norm2 mlp ls2'), 'drop_path2'),
)

for _name in (
    'PartitionAttentionCl',
    'ParallelPartitionAttention',
    'PartitionAttention2d',
):
    register_block(
        f'timm.models.maxxvit.{_name}',
        Branch(chain('norm1 _partition_attn ls1'), 'drop_path1'),
        Branch(chain('norm2 mlp ls2'), 'drop_path2'),
    )


def _mb_conv(block: Any, x: Tensor) -> Tensor:
    x = block.conv1_1x1(block.down(block.pre_norm(x)))
    x = block.conv2_kxk(block.norm1(x))
    if block.se_early is not None:
        x = block.se_early(x)
    x = block.norm2(x)
    if block.se is not None:
        x = block.se(x)
    return block.conv3_1x1(x)


def _conv_next(block: Any, x: Tensor) -> Tensor:
    x = block.conv_dw(block.down(x))
    if block.use_conv_mlp:
        return block.ls(block.mlp(block.norm(x)))
    x = block.ls(block.mlp(block.norm(x.permute(0, 2, 3, 1))))
    return x.permute(0, 3, 1, 2)


for _name, _residual in (('MbConvBlock', _mb_conv), ('ConvNeXtBlock', _conv_next)):
    register_block(
        f'timm.models.maxxvit.{_name}',
        Branch(_residual, 'drop_path', chain('shortcut')),
    )


def _relative_attention(block: Any, x: Tensor, shared_rel_pos: Any = None) -> Tensor:
    return block.ls1(block.attn(block.norm1(x), shared_rel_pos=shared_rel_pos))


# CoAtNet.
register_block(
    'timm.models.maxxvit.TransformerBlock2d',
    Branch(_relative_attention, 'drop_path1', chain('shortcut')),
    Branch(chain('norm2 mlp ls2'), 'drop_path2'),
)
register_block(
    'timm.models.focalnet.FocalNetBlock',
    Branch(chain('norm1 modulation norm1_post ls1'), 'drop_path1'),
    Branch(chain('norm2 mlp norm2_post ls2'), 'drop_path2'),
)
