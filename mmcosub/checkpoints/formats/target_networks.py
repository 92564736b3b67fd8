"""Networks of other libraries, built to check converted weights against."""

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope
from mmpretrain.models.backbones import resnet
from torch import nn

from mmcosub.checkpoints.weights import State

from .target_transformers import beit, count, mit, outputs, swin, vit, xcit

_IN_TIMM = {'in_channels': 'in_chans', 'embed_dims': 'embed_dim', 'num_layers': 'depth'}
_HEADS = {
    'head.fc': 'LinearClsHead',
    'head.layers.head_dist': 'DeiTClsHead',
    'head.layers.head': 'VisionTransformerClsHead',
}


@contextmanager
def without_memory() -> Iterator[None]:
    """Build models on the meta device, without memory for their weights."""
    # Networks read drop-path rates from a linspace tensor, which must have values.
    linspace, init_weights = torch.linspace, BaseModule.init_weights
    torch.linspace = functools.partial(linspace, device='cpu')
    # MMPretrain's LoRA initialises its weights on construction.
    BaseModule.init_weights = lambda self: None
    try:
        with torch.device('meta'):
            yield
    finally:
        torch.linspace, BaseModule.init_weights = linspace, init_weights


def target_network(state: State, family: str, target: str) -> nn.Module | None:
    """Build the network of weights in mmpretrain's names on the meta device.

    ``target`` is 'mmpretrain', 'mmseg' (a backbone) or 'timm'; networks of the first
    two are under ``backbone`` and ``head``. None if the library has no such network.
    """
    settings = _SETTINGS[family](state, target) if family in _SETTINGS else None
    if settings is None:
        return None
    name = next((name for name in _HEADS if f'{name}.weight' in state), None)
    classes, channels = state[f'{name}.weight'].shape if name else (0, 0)
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        without_memory(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        if target == 'timm':
            module, kind = settings.pop('type').split('.')
            network = getattr(importlib.import_module(f'timm.models.{module}'), kind)
            settings = {_IN_TIMM.get(k, k): value for k, value in settings.items()}
            return network(num_classes=classes, **settings)
        from mmpretrain.registry import MODELS

        parts = {'backbone': MODELS.build(settings)}
        if name and target == 'mmpretrain':
            head = dict(type=_HEADS[name], num_classes=classes, in_channels=channels)
            parts['head'] = MODELS.build(head)
        return nn.ModuleDict(parts)


def _convnext(state: State, target: str) -> dict:
    dims = [len(state[f'stages.{i}.0.depthwise_conv.weight']) for i in range(4)]
    depths = [count(state, rf'stages\.{i}\.\d+\.') for i in range(4)]
    channels, size = state['downsample_layers.0.0.weight'].shape[1:3]
    scaled = 'stages.0.0.gamma' in state
    grn = dict(use_grn='stages.0.0.grn.gamma' in state)
    if target == 'timm':
        return dict(
            type='convnext.ConvNeXt', in_channels=channels, depths=depths, dims=dims,
            patch_size=size, ls_init_value=1.0 if scaled else None, **grn,
        )  # fmt: skip
    return dict(
        type='ConvNeXt', arch=dict(depths=depths, channels=dims), in_channels=channels,
        stem_patch_size=size, layer_scale_init_value=float(scaled),
        out_indices=outputs(state), **grn,
    )  # fmt: skip


def _resnet(state: State, target: str) -> dict | None:
    layers = tuple(count(state, rf'layer{i}\.\d+\.') for i in range(1, 5))
    bottleneck = 'layer1.0.conv3.weight' in state
    deep, inner = 'stem.2.bn.weight' in state, state['layer1.0.conv2.weight']
    shortcut = state.get('layer2.0.downsample.1.weight')  # a norm's without pooling
    pooled = 'layer2.0.downsample.2.weight' in state or (
        shortcut is not None and shortcut.ndim == 4
    )
    groups = len(inner) // inner.shape[1]
    first = state['stem.0.conv.weight' if deep else 'conv1.weight']
    if target == 'timm':
        from timm.models.resnet import BasicBlock, Bottleneck

        return dict(
            type='resnet.ResNet', in_channels=first.shape[1], layers=layers,
            block=Bottleneck if bottleneck else BasicBlock, cardinality=groups,
            base_width=len(inner) // groups, stem_width=len(first),
            stem_type='deep' if deep else '', avg_down=pooled,
        )  # fmt: skip
    kind = 'ResNetV1d' if pooled else 'ResNetV1c' if deep else 'ResNet'
    depths = [
        depth
        for depth, (block, blocks) in resnet.ResNet.arch_settings.items()
        if blocks == layers and (block is resnet.Bottleneck) == bottleneck
    ]
    if not depths or (groups > 1 and (deep or pooled)):
        return None
    width = 'base_width' if target == 'mmseg' else 'width_per_group'
    wide = {'groups': groups, width: len(inner) // groups} if groups > 1 else {}
    return dict(
        type=('mmseg.' if target == 'mmseg' else '') + ('ResNeXt' if wide else kind),
        depth=depths[0], in_channels=first.shape[1], **wide,
    )  # fmt: skip


def _hrnet(state: State, target: str) -> dict | None:
    if target != 'mmseg':
        return None
    blocks = (count(state, r'layer1\.\d+'),)
    stages = dict(stage1=dict(
        num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=blocks,
        num_channels=(64,),
    ))  # fmt: skip
    for i in range(2, 5):
        branch = rf'stage{i}\.0\.branches'
        widths = [f'stage{i}.0.branches.{j}.0.conv1.weight' for j in range(i)]
        stages[f'stage{i}'] = dict(
            num_modules=count(state, rf'stage{i}\.\d+'), num_branches=i, block='BASIC',
            num_blocks=[count(state, rf'{branch}\.{j}\.\d+') for j in range(i)],
            num_channels=[len(state[name]) for name in widths],
        )  # fmt: skip
    channels = state['conv1.weight'].shape[1]
    return dict(type='mmseg.HRNet', extra=stages, in_channels=channels)


_SETTINGS: dict[str, Callable[[State, str], dict | None]] = {
    'ViT': vit,
    'BEiT': beit,
    'Swin': swin,
    'ConvNeXt': _convnext,
    'XCiT': xcit,
    'ResNet': _resnet,
    'HRNet': _hrnet,
    'MiT': mit,
}
