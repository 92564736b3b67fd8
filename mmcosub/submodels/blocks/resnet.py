"""ResNets and their variants of MMPretrain and MMSegmentation."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import activation, chain, downsampled


def _plugins(block: Any, x: Tensor, position: int) -> Tensor:
    if getattr(block, 'with_plugins', False):
        names = getattr(block, f'after_conv{position}_plugin_names')
        return block.forward_plugin(x, names)
    return x


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    x = _plugins(block, block.relu(block.norm1(block.conv1(x))), 1)
    x = _plugins(block, block.relu(block.norm2(block.conv2(x))), 2)
    return _plugins(block, block.norm3(block.conv3(x)), 3)


def _se_bottleneck(block: Any, x: Tensor) -> Tensor:
    return block.se_layer(_bottleneck(block, x))


def _split_attention(block: Any, x: Tensor) -> Tensor:
    """ResNeSt."""
    x = _plugins(block, block.relu(block.norm1(block.conv1(x))), 1)
    x = block.conv2(x)
    if block.avg_down_stride:
        x = block.avd_layer(x)
    x = _plugins(block, x, 2)
    return _plugins(block, block.norm3(block.conv3(x)), 3)


def _bottle2neck(block: Any, x: Tensor) -> Tensor:
    """Res2Net: the groups of channels are convolved one after another."""
    x = block.relu(block.norm1(block.conv1(x)))
    groups = torch.split(x, block.width, 1)
    outputs: list[Tensor] = []
    for conv, norm, group in zip(block.convs, block.bns, groups, strict=False):
        if outputs and block.stage_type != 'stage':
            group = outputs[-1] + group
        outputs.append(block.relu(norm(conv(group.contiguous()))))
    if block.scales != 1:
        last = groups[block.scales - 1]
        outputs.append(last if block.stage_type == 'normal' else block.pool(last))
    return block.norm3(block.conv3(torch.cat(outputs, 1)))


# ResNet, V1c and V1d, ResNeXt and RegNet. mmseg's have no DropPath, and may have
# plugins.
for _package, _drop_path in (
    ('mmpretrain.models.backbones', 'drop_path'),
    ('mmseg.models.backbones', None),
):
    for _name, _residual in (
        ('resnet.BasicBlock', chain('conv1 norm1 relu conv2 norm2')),
        ('resnet.Bottleneck', _bottleneck),
        ('resnest.Bottleneck', _split_attention),
    ):
        register_block(
            f'{_package}.{_name}',
            Branch(_residual, _drop_path, downsampled, activation('relu')),
        )

# Upstream, these and MMPretrain's ResNeSt ignore their drop-path rate. Here it acts.
for _name, _residual in (
    ('res2net.Bottle2neck', _bottle2neck),
    ('seresnet.SEBottleneck', _se_bottleneck),
):
    register_block(
        f'mmpretrain.models.backbones.{_name}',
        Branch(_residual, 'drop_path', downsampled, activation('relu')),
    )

register_block(
    'mmpretrain.models.backbones.cspnet.DarknetBottleneck',
    Branch(chain('conv1 conv2'), 'drop_path', exists=attrgetter('add_identity')),
)

# They add up paths that have passed different numbers of blocks.
register_fixed_batch(
    'mmpretrain.models.backbones.cspnet.CSPNet',
    'mmpretrain.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.bisenetv1.BiSeNetV1',
)
