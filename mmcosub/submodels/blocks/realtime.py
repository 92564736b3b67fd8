"""Real-time networks of MMSegmentation: BiSeNetV2, CGNet, DDRNet, ERFNet, PIDNet.

None uses DropPath upstream.
"""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import activation, chain, out_of_place


def _shortcut(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x) if block.downsample else x


def _activation(block: Any, x: Tensor) -> Tensor:
    # Without one, the network continues in place, perhaps on the block's own input.
    return out_of_place(block.act, x) if hasattr(block, 'act') else x.clone()


# DDRNet and PIDNet.
for _name, _modules in (('BasicBlock', ''), ('Bottleneck', ' conv3')):
    register_block(
        f'mmseg.models.utils.basic_block.{_name}',
        Branch(chain('conv1 conv2' + _modules), None, _shortcut, _activation),
    )


def _gather_expand_shortcut(block: Any, x: Tensor) -> Tensor:
    return x if block.shortcut is None else block.shortcut(x)


register_block(
    'mmseg.models.backbones.bisenetv2.GELayer',
    Branch(
        chain('conv1 dwconv conv2'),
        shortcut=_gather_expand_shortcut,
        after=activation('act'),
    ),
)


def _context_guided(block: Any, x: Tensor) -> Tensor:
    x = block.conv1x1(x)
    x = torch.cat([block.f_loc(x), block.f_sur(x)], 1)
    return block.f_glo(block.activate(block.bn(x)))


register_block(
    'mmseg.models.backbones.cgnet.ContextGuidedBlock',
    Branch(_context_guided, exists=attrgetter('skip_connect')),
)


def _non_bottleneck(block: Any, x: Tensor) -> Tensor:
    for layer in block.convs_layers:
        x = layer(x)
    return x


register_block(
    'mmseg.models.backbones.erfnet.NonBottleneck1d',
    Branch(_non_bottleneck, after=activation('act')),
)

# They add up paths that have passed different numbers of blocks.
register_fixed_batch(
    'mmseg.models.backbones.bisenetv2.BiSeNetV2',
    'mmseg.models.backbones.cgnet.CGNet',
    'mmseg.models.backbones.ddrnet.DDRNet',
    'mmseg.models.backbones.pidnet.PIDNet',
)
