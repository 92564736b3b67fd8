"""ResNets of MMPretrain and MMSegmentation, and MMSegmentation's real-time networks.

Of the latter, BiSeNetV2, CGNet, DDRNet, ERFNet and PIDNet, none uses DropPath upstream.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels.branches import register_block, register_fixed_batch

from .notation import activation, branch, out_of_place, register


def _plugins(block: Any, x: Tensor, position: int) -> Tensor:
    if getattr(block, 'with_plugins', False):
        names = getattr(block, f'after_conv{position}_plugin_names')
        return block.forward_plugin(x, names)
    return x


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    x = _plugins(block, block.relu(block.norm1(block.conv1(x))), 1)
    x = _plugins(block, block.relu(block.norm2(block.conv2(x))), 2)
    return _plugins(block, block.norm3(block.conv3(x)), 3)


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
# plugins. Upstream, MMPretrain's ResNeSt, Res2Net and SE-ResNet ignore their drop-path
# rate. Here it acts.
for _name, _residual in (
    ('mmpretrain.models.backbones.resnet.BasicBlock', 'conv1 norm1 relu conv2 norm2'),
    ('mmpretrain.models.backbones.resnet.Bottleneck', _bottleneck),
    ('mmpretrain.models.backbones.resnest.Bottleneck', _split_attention),
    ('mmpretrain.models.backbones.res2net.Bottle2neck', _bottle2neck),
    ('mmpretrain.models.backbones.seresnet.SEBottleneck', (_bottleneck, 'se_layer')),
    ('mmseg.models.backbones.resnet.BasicBlock', 'conv1 norm1 relu conv2 norm2'),
    ('mmseg.models.backbones.resnet.Bottleneck', _bottleneck),
    ('mmseg.models.backbones.resnest.Bottleneck', _split_attention),
):
    _drop_path = 'drop_path' if _name.startswith('mmpretrain') else None
    register_block(
        _name, branch(_residual, _drop_path, 'downsample?', activation('relu'))
    )

register_block(
    'mmpretrain.models.backbones.cspnet.DarknetBottleneck',
    branch('conv1 conv2', 'drop_path', exists='add_identity'),
)


def _downsample(block: Any, x: Tensor) -> Tensor:
    return block.downsample(x) if block.downsample else x


def _activation(block: Any, x: Tensor) -> Tensor:
    # Without one, the network continues in place, perhaps on the block's own input.
    return out_of_place(block.act, x) if hasattr(block, 'act') else x.clone()


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
            'conv1 conv2', None, _downsample, _activation
        ),
        'utils.basic_block.Bottleneck': branch(
            'conv1 conv2 conv3', None, _downsample, _activation
        ),
        'backbones.bisenetv2.GELayer': branch(
            'conv1 dwconv conv2', None, 'shortcut?', activation('act')
        ),
        'backbones.cgnet.ContextGuidedBlock': branch(
            _context_guided, exists='skip_connect'
        ),
        'backbones.erfnet.NonBottleneck1d': branch(
            _non_bottleneck, after=activation('act')
        ),
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
