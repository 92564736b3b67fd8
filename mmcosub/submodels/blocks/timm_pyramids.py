"""Transformers of timm that lower their resolution.

Swin and SwinV2, PVTv2, Twins, Hiera, MaxViT and FocalNet.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch


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


def _swin_v2_cr_attention(block: Any, x: Tensor) -> Tensor:
    return block.norm1(block._shifted_window_attn(x))


def _swin_v2_cr_norm(block: Any, x: Tensor) -> Tensor:
    return block.norm3(x)


register_block(
    'timm.models.swin_transformer_v2_cr.SwinTransformerV2CrBlock',
    Branch(_swin_v2_cr_attention, 'drop_path1'),
    Branch(_swin_v2_mlp, 'drop_path2', after=_swin_v2_cr_norm),
)


def _sized_attention(block: Any, x: Tensor, size: Any) -> Tensor:
    return block.attn(block.norm1(x), size)


def _sized_mlp(block: Any, x: Tensor, size: Any) -> Tensor:
    return block.mlp(block.norm2(x), size)


def _unsized_mlp(block: Any, x: Tensor, size: Any) -> Tensor:
    return block.mlp(block.norm2(x))


for _name, _mlp in (('pvt_v2', _sized_mlp), ('twins', _unsized_mlp)):
    register_block(
        f'timm.models.{_name}.Block',
        Branch(_sized_attention, 'drop_path1'),
        Branch(_mlp, 'drop_path2'),
    )
# They give their feature maps the shape of what came in.
register_fixed_batch(
    'timm.models.pvt_v2.PyramidVisionTransformerStage', 'timm.models.twins.Twins'
)


def _scaled_attention(block: Any, x: Tensor) -> Tensor:
    return block.ls1(block.attn(block.norm1(x)))


def _scaled_mlp(block: Any, x: Tensor) -> Tensor:
    return block.ls2(block.mlp(block.norm2(x)))


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
    Branch(_scaled_attention, 'drop_path1', _hiera_shortcut),
    Branch(_scaled_mlp, 'drop_path2'),
)


def _partition_attention(block: Any, x: Tensor) -> Tensor:
    return block.ls1(block._partition_attn(block.norm1(x)))


for _name in (
    'PartitionAttentionCl',
    'ParallelPartitionAttention',
    'PartitionAttention2d',
):
    register_block(
        f'timm.models.maxxvit.{_name}',
        Branch(_partition_attention, 'drop_path1'),
        Branch(_scaled_mlp, 'drop_path2'),
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


def _shortcut(block: Any, x: Tensor, shared_rel_pos: Any = None) -> Tensor:
    return block.shortcut(x)


for _name, _residual in (('MbConvBlock', _mb_conv), ('ConvNeXtBlock', _conv_next)):
    register_block(
        f'timm.models.maxxvit.{_name}', Branch(_residual, 'drop_path', _shortcut)
    )


def _relative_attention(block: Any, x: Tensor, shared_rel_pos: Any = None) -> Tensor:
    return block.ls1(block.attn(block.norm1(x), shared_rel_pos=shared_rel_pos))


def _mlp_2d(block: Any, x: Tensor, shared_rel_pos: Any = None) -> Tensor:
    return block.ls2(block.mlp(block.norm2(x)))


# CoAtNet's.
register_block(
    'timm.models.maxxvit.TransformerBlock2d',
    Branch(_relative_attention, 'drop_path1', _shortcut),
    Branch(_mlp_2d, 'drop_path2'),
)


def _modulation(block: Any, x: Tensor) -> Tensor:
    return block.ls1(block.norm1_post(block.modulation(block.norm1(x))))


def _focal_mlp(block: Any, x: Tensor) -> Tensor:
    return block.ls2(block.norm2_post(block.mlp(block.norm2(x))))


register_block(
    'timm.models.focalnet.FocalNetBlock',
    Branch(_modulation, 'drop_path1'),
    Branch(_focal_mlp, 'drop_path2'),
)
