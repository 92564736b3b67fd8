"""ResNets of MMPretrain and MMSegmentation, and MMSegmentation's real-time networks.

Of the latter, BiSeNetV2, CGNet, DDRNet, ERFNet and PIDNet, none uses DropPath upstream.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_fixed_batch

from .notation import branch, register


def _run_plugins(position: int, block: Any, x: Tensor) -> Tensor:
    if getattr(block, 'with_plugins', False):
        names = getattr(block, f'after_conv{position}_plugin_names')
        return block.forward_plugin(x, names)
    return x


_PLUGINS = [partial(_run_plugins, position) for position in range(4)]
_BASIC = 'conv1 norm1 relu conv2 norm2'
_BOTTLENECK = (
    *('conv1 norm1 relu', _PLUGINS[1], 'conv2 norm2 relu', _PLUGINS[2]),
    *('conv3 norm3', _PLUGINS[3]),
)
_RESNEST = (
    *('conv1 norm1 relu', _PLUGINS[1], 'conv2 avd_layer?', _PLUGINS[2]),
    *('conv3 norm3', _PLUGINS[3]),
)


def _res2net(block: Any, x: Tensor) -> Tensor:
    """Convolve the groups of channels one after another."""
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
# plugins. Upstream, MMPretrain's ResNeSt, Res2Net and SE-ResNet ignore their drop-path
# rate. Here it acts.
_RESNETS: tuple[tuple[str, Any], ...] = (
    ('mmpretrain.models.backbones.resnet.BasicBlock', _BASIC),
    ('mmpretrain.models.backbones.resnet.Bottleneck', _BOTTLENECK),
    ('mmpretrain.models.backbones.resnest.Bottleneck', _RESNEST),
    ('mmpretrain.models.backbones.res2net.Bottle2neck', _res2net),
    ('mmpretrain.models.backbones.seresnet.SEBottleneck', (*_BOTTLENECK, 'se_layer')),
    ('mmseg.models.backbones.resnet.BasicBlock', _BASIC),
    ('mmseg.models.backbones.resnet.Bottleneck', _BOTTLENECK),
    ('mmseg.models.backbones.resnest.Bottleneck', _RESNEST),
)
for _name, _residual in _RESNETS:
    _package, _, _block = _name.partition('.')
    _drop_path = 'drop_path' if _package == 'mmpretrain' else None
    register(_package, {_block: branch(_residual, _drop_path, 'downsample?', 'relu!')})

register(
    'mmpretrain.models.backbones.cspnet',
    {'DarknetBottleneck': branch('conv1 conv2', 'drop_path', exists='add_identity')},
)


def _context_guided(block: Any, x: Tensor) -> Tensor:
    x = block.conv1x1(x)
    x = torch.cat([block.f_loc(x), block.f_sur(x)], 1)
    return block.f_glo(block.activate(block.bn(x)))


def _non_bottleneck(block: Any, x: Tensor) -> Tensor:
    for layer in block.convs_layers:
        x = layer(x)
    return x


register(
    'mmseg.models',
    {
        # DDRNet and PIDNet.
        'utils.basic_block.BasicBlock': branch(
            'conv1 conv2', None, 'downsample?', 'act!'
        ),
        'utils.basic_block.Bottleneck': branch(
            'conv1 conv2 conv3', None, 'downsample?', 'act!'
        ),
        'backbones.bisenetv2.GELayer': branch(
            'conv1 dwconv conv2', None, 'shortcut?', 'act!'
        ),
        'backbones.cgnet.ContextGuidedBlock': branch(
            _context_guided, exists='skip_connect'
        ),
        'backbones.erfnet.NonBottleneck1d': branch(_non_bottleneck, after='act!'),
    },
)

# They add up paths that have passed different numbers of blocks.
register_fixed_batch(
    'mmpretrain.models.backbones.cspnet.CSPNet',
    'mmpretrain.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.bisenetv1.BiSeNetV1',
    'mmseg.models.backbones.bisenetv2.BiSeNetV2',
    'mmseg.models.backbones.cgnet.CGNet',
    'mmseg.models.backbones.ddrnet.DDRNet',
    'mmseg.models.backbones.pidnet.PIDNet',
)
