"""ResNets of MMPretrain and MMSegmentation, and MMSegmentation's real-time networks.

Of the latter, BiSeNetV2, CGNet, DDRNet, ERFNet and PIDNet, none uses DropPath upstream.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .notation import register


def _plugins(position: int, block: Any, x: Tensor) -> Tensor:
    if getattr(block, 'with_plugins', False):
        names = getattr(block, f'after_conv{position}_plugin_names')
        return block.forward_plugin(x, names)
    return x


_plugins1, _plugins2, _plugins3 = (partial(_plugins, i) for i in (1, 2, 3))


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


def _context_guided(block: Any, x: Tensor) -> Tensor:
    x = block.conv1x1(x)
    x = torch.cat([block.f_loc(x), block.f_sur(x)], 1)
    return block.f_glo(block.activate(block.bn(x)))


def _non_bottleneck(block: Any, x: Tensor) -> Tensor:
    for layer in block.convs_layers:
        x = layer(x)
    return x


register(
    """
# ResNet, V1c and V1d, ResNeXt and RegNet. mmseg's have no DropPath, and may have
# plugins. Upstream, MMPretrain's ResNeSt, Res2Net and SE-ResNet ignore their drop-path
# rate. Here it acts.
[mmpretrain.models.backbones]
resnet.BasicBlock: conv1 norm1 relu conv2 norm2  @drop_path  + downsample?  then relu!
resnet.Bottleneck
    conv1 norm1 relu conv2 norm2 relu conv3 norm3 \
        @drop_path  + downsample?  then relu!
resnest.Bottleneck
    conv1 norm1 relu conv2 avd_layer? conv3 norm3 \
        @drop_path  + downsample?  then relu!
seresnet.SEBottleneck
    conv1 norm1 relu conv2 norm2 relu conv3 norm3 se_layer \
        @drop_path  + downsample?  then relu!
res2net.Bottle2neck: {_res2net}  @drop_path  + downsample?  then relu!
cspnet.DarknetBottleneck: conv1 conv2  @drop_path  if add_identity

[mmseg.models.backbones]
resnet.BasicBlock: conv1 norm1 relu conv2 norm2  + downsample?  then relu!
resnet.Bottleneck
    conv1 norm1 relu {_plugins1} conv2 norm2 relu {_plugins2} conv3 norm3 {_plugins3} \
        + downsample?  then relu!
resnest.Bottleneck
    conv1 norm1 relu {_plugins1} conv2 avd_layer? {_plugins2} conv3 norm3 {_plugins3} \
        + downsample?  then relu!

[mmseg.models]
utils.basic_block.BasicBlock  # DDRNet and PIDNet
    conv1 conv2  + downsample?  then act!
utils.basic_block.Bottleneck: conv1 conv2 conv3  + downsample?  then act!
backbones.bisenetv2.GELayer: conv1 dwconv conv2  + shortcut?  then act!
backbones.cgnet.ContextGuidedBlock: {_context_guided}  if skip_connect
backbones.erfnet.NonBottleneck1d: {_non_bottleneck}  then act!
""",
    globals(),
)
