"""ResNets of MMPretrain and MMSegmentation."""

from typing import Any

from torch import Tensor

from mmcosub.submodels.branches import Branch, register_block, register_fixed_batch

from .common import set_attributes


def _plugins(block: Any, x: Tensor, position: int) -> Tensor:
    if getattr(block, 'with_plugins', False):
        names = getattr(block, f'after_conv{position}_plugin_names')
        return block.forward_plugin(x, names)
    return x


def _basic_block(block: Any, x: Tensor) -> Tensor:
    x = block.relu(block.norm1(block.conv1(x)))
    return block.norm2(block.conv2(x))


def _bottleneck(block: Any, x: Tensor) -> Tensor:
    x = _plugins(block, block.relu(block.norm1(block.conv1(x))), 1)
    x = _plugins(block, block.relu(block.norm2(block.conv2(x))), 2)
    return _plugins(block, block.norm3(block.conv3(x)), 3)


def _shortcut(block: Any, x: Tensor) -> Tensor:
    return x if block.downsample is None else block.downsample(x)


def _activation(block: Any, x: Tensor) -> Tensor:
    # Out of place: the rows of a skipped branch are the very tensor that came in.
    with set_attributes(block.relu, inplace=False):
        return block.relu(x)


# ResNet, V1c and V1d, and ResNeXt. mmseg's have no drop path and may have plugins.
for _package, _drop_path in (
    ('mmpretrain.models.backbones.resnet', 'drop_path'),
    ('mmseg.models.backbones.resnet', None),
):
    for _name, _residual in (('BasicBlock', _basic_block), ('Bottleneck', _bottleneck)):
        register_block(
            f'{_package}.{_name}',
            Branch(_residual, _drop_path, _shortcut, _activation),
        )

register_fixed_batch(
    # Their paths meet, and one of them has more of the blocks behind it.
    'mmpretrain.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.hrnet.HRNet',
    'mmseg.models.backbones.bisenetv1.BiSeNetV1',
)
