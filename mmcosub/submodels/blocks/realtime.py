"""Small fast networks of MMSegmentation: BiSeNetV2, CGNet, DDRNet, ERFNet, PIDNet.

None has drop path of its own.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import out_of_place


def _basic_block(block: Any, x: Tensor) -> Tensor:
    return block.conv2(block.conv1(x))


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    return block.conv3(block.conv2(block.conv1(x)))


def _shortcut(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x) if block.downsample else x


def _activation(block: Any, x: Tensor) -> Tensor:
    # Where there is none, the networks go on in place, on what may be the very rows
    # that came in.
    return out_of_place(block.act, x) if hasattr(block, 'act') else x.clone()


# DDRNet and PIDNet.
for _name, _residual in (('BasicBlock', _basic_block), ('Bottleneck', _bottleneck)):
    register_block(
        f'mmseg.models.utils.basic_block.{_name}',
        Branch(_residual, shortcut=_shortcut, after=_activation),
    )


def _gather_expand(block: Any, x: Tensor) -> Tensor:
    return block.conv2(block.dwconv(block.conv1(x)))


def _gather_expand_shortcut(block: Any, x: Tensor) -> Tensor:
    return x if block.shortcut is None else block.shortcut(x)


def _last_activation(block: Any, x: Tensor) -> Tensor:
    return out_of_place(block.act, x)


register_block(
    'mmseg.models.backbones.bisenetv2.GELayer',
    Branch(
        _gather_expand,
        shortcut=_gather_expand_shortcut,
        after=_last_activation,
    ),
)


def _context_guided(block: Any, x: Tensor) -> Tensor:
    x = block.conv1x1(x)
    x = torch.cat([block.f_loc(x), block.f_sur(x)], 1)
    return block.f_glo(block.activate(block.bn(x)))


def _skips(block: Any) -> bool:
    return block.skip_connect


register_block(
    'mmseg.models.backbones.cgnet.ContextGuidedBlock',
    Branch(_context_guided, exists=_skips),
)


def _non_bottleneck(block: Any, x: Tensor) -> Tensor:
    for layer in block.convs_layers:
        x = layer(x)
    return x


register_block(
    'mmseg.models.backbones.erfnet.NonBottleneck1d',
    Branch(_non_bottleneck, after=_last_activation),
)

# Their paths meet, and some paths have more of the blocks behind them than others.
register_fixed_batch(
    'mmseg.models.backbones.bisenetv2.BiSeNetV2',
    'mmseg.models.backbones.cgnet.CGNet',
    'mmseg.models.backbones.ddrnet.DDRNet',
    'mmseg.models.backbones.pidnet.PIDNet',
)
