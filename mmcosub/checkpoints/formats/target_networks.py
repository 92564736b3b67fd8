"""Networks of other libraries, built to check converted weights against."""

import math
import warnings
from collections.abc import Callable

from mmengine.registry import DefaultScope
from torch import nn

from mmcosub.checkpoints.weights import State
from mmcosub.checkpoints.without_memory import without_memory

from .target_transformers import beit_settings, count, vit_settings

_DEPTHS: dict[
    tuple[tuple[int, ...], bool], int
] = {  # ResNet depth by blocks and bottleneck
    ((2, 2, 2, 2), False): 18,
    ((3, 4, 6, 3), False): 34,
    ((3, 4, 6, 3), True): 50,
    ((3, 4, 23, 3), True): 101,
    ((3, 8, 36, 3), True): 152,
}


def target_network(state: State, family: str, target: str) -> nn.Module | None:
    """Build the network on the meta device.

    Args:
        state (dict[str, Tensor]): Weights in mmpretrain's names; only shapes are used.
        family (str): The architecture.
        target (str): 'mmpretrain', 'mmseg' (a backbone) or 'timm'.

    Returns:
        nn.Module, optional: The network; of mmpretrain and mmseg with ``backbone`` and
        ``head``. None if the library has none of this architecture.
    """
    settings = _SETTINGS[family](state, target) if family in _SETTINGS else None
    if settings is None:
        return None
    head = _head(state)
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        without_memory(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter('ignore')
        if target == 'timm':
            classes = head['num_classes'] if head else 0
            return settings.pop('type')(num_classes=classes, **settings)
        from mmpretrain.registry import MODELS

        parts = {'backbone': MODELS.build(settings)}
        if head and target == 'mmpretrain':
            parts['head'] = MODELS.build(head)
        return nn.ModuleDict(parts)


def _head(state: State) -> dict | None:
    for kind, name in (
        ('LinearClsHead', 'head.fc'),
        ('DeiTClsHead', 'head.layers.head_dist'),
        ('VisionTransformerClsHead', 'head.layers.head'),
    ):
        weight = state.get(f'{name}.weight')
        if weight is not None:
            return dict(type=kind, num_classes=len(weight), in_channels=weight.shape[1])
    return None


def _swin(state: State, target: str) -> dict:
    table = 'stages.{}.blocks.0.attn.w_msa.relative_position_bias_table'
    dim, channels, size = state['patch_embed.projection.weight'].shape[:3]
    stages = count(state, r'stages\.\d+\.blocks')
    depths = [count(state, rf'stages\.{i}\.blocks\.\d+\.') for i in range(stages)]
    heads = [state[table.format(i)].shape[1] for i in range(stages)]
    window = (math.isqrt(len(state[table.format(0)])) + 1) // 2
    if target == 'timm':
        from timm.models.swin_transformer import SwinTransformer

        return dict(
            type=SwinTransformer, img_size=size * window * 2 ** (stages - 1),
            patch_size=size, in_chans=channels, embed_dim=dim, depths=depths,
            num_heads=heads, window_size=window,
        )  # fmt: skip
    common = dict(window_size=window, in_channels=channels, patch_size=size)
    if target == 'mmseg':
        return dict(
            type='mmseg.SwinTransformer', embed_dims=dim, depths=depths,
            num_heads=heads, strides=(size, 2, 2, 2), out_indices=_outputs(state),
            **common,
        )  # fmt: skip
    arch = dict(embed_dims=dim, depths=depths, num_heads=heads)
    outputs = (stages - 1,)
    return dict(type='SwinTransformer', arch=arch, out_indices=outputs, **common)


def _convnext(state: State, target: str) -> dict:
    dims = [len(state[f'stages.{i}.0.depthwise_conv.weight']) for i in range(4)]
    depths = [count(state, rf'stages\.{i}\.\d+\.') for i in range(4)]
    stem, grn = state['downsample_layers.0.0.weight'], 'stages.0.0.grn.gamma' in state
    scaled = 'stages.0.0.gamma' in state
    if target == 'timm':
        from timm.models.convnext import ConvNeXt

        return dict(
            type=ConvNeXt, in_chans=stem.shape[1], depths=depths, dims=dims,
            patch_size=stem.shape[2], use_grn=grn,
            ls_init_value=1.0 if scaled else None,
        )  # fmt: skip
    return dict(
        type='ConvNeXt', arch=dict(depths=depths, channels=dims), use_grn=grn,
        in_channels=stem.shape[1], stem_patch_size=stem.shape[2],
        layer_scale_init_value=float(scaled), out_indices=_outputs(state),
    )  # fmt: skip


def _xcit(state: State, target: str) -> dict:
    convolutions = count(state, r'patch_embed\.proj\.\d+\.conv')
    dim = state['cls_token'].shape[2]
    common = dict(
        patch_size=2**convolutions, depth=count(state, r'xca_layers\.\d+\.'),
        num_heads=len(state['xca_layers.0.attn.temperature']),
        cls_attn_layers=count(state, r'ca_layers\.\d+\.'),
        use_pos_embed='pos_embed.token_projection.conv.weight' in state,
        mlp_ratio=len(state['xca_layers.0.ffn.layers.0.0.weight']) / dim,
    )  # fmt: skip
    if target == 'timm':
        from timm.models.xcit import Xcit

        return dict(type=Xcit, embed_dim=dim, eta=1.0, **common)
    return dict(type='XCiT', embed_dims=dim, **common)


def _resnet(state: State, target: str) -> dict | None:
    layers = tuple(count(state, rf'layer{i}\.\d+\.') for i in range(1, 5))
    bottleneck = 'layer1.0.conv3.weight' in state
    deep, inner = 'stem.2.bn.weight' in state, state['layer1.0.conv2.weight']
    pooled = 'layer2.0.downsample.2.weight' in state or (
        'layer2.0.downsample.1.weight' in state
        and state['layer2.0.downsample.1.weight'].ndim == 4
    )
    groups = len(inner) // inner.shape[1]
    first = state['stem.0.conv.weight' if deep else 'conv1.weight']
    if target == 'timm':
        from timm.models import resnet

        return dict(
            type=resnet.ResNet, in_chans=first.shape[1], layers=layers,
            block=resnet.Bottleneck if bottleneck else resnet.BasicBlock,
            cardinality=groups, base_width=len(inner) // groups, stem_width=len(first),
            stem_type='deep' if deep else '', avg_down=pooled,
        )  # fmt: skip
    kind = 'ResNetV1d' if pooled else 'ResNetV1c' if deep else 'ResNet'
    if (layers, bottleneck) not in _DEPTHS or (groups > 1 and (deep or pooled)):
        return None
    width = 'base_width' if target == 'mmseg' else 'width_per_group'
    wide = {'groups': groups, width: len(inner) // groups} if groups > 1 else {}
    return dict(
        type=('mmseg.' if target == 'mmseg' else '') + ('ResNeXt' if wide else kind),
        depth=_DEPTHS[layers, bottleneck], in_channels=first.shape[1], **wide,
    )  # fmt: skip


def _hrnet(state: State, target: str) -> dict | None:
    if target != 'mmseg':
        return None
    first = dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_channels=(64,))
    stages = {'stage1': {**first, 'num_blocks': (count(state, r'layer1\.\d+'),)}}
    for i in range(2, 5):
        block = rf'stage{i}\.0\.branches'
        stages[f'stage{i}'] = dict(
            num_modules=count(state, rf'stage{i}\.\d+'), num_branches=i, block='BASIC',
            num_blocks=[count(state, rf'{block}\.{j}\.\d+') for j in range(i)],
            num_channels=[
                len(state[f'stage{i}.0.branches.{j}.0.conv1.weight']) for j in range(i)
            ],
        )  # fmt: skip
    channels = state['conv1.weight'].shape[1]
    return dict(type='mmseg.HRNet', extra=stages, in_channels=channels)


def _mit(state: State, target: str) -> dict | None:
    if target != 'mmseg':
        return None
    block = 'layers.{}.1.0.{}.weight'
    dim = len(state['layers.0.0.projection.weight'])
    ratios = [state.get(block.format(i, 'attn.sr')) for i in range(4)]
    widths = [len(state[f'layers.{i}.0.projection.weight']) for i in range(4)]
    return dict(
        type='mmseg.MixVisionTransformer', embed_dims=dim,
        in_channels=state['layers.0.0.projection.weight'].shape[1],
        num_layers=[count(state, rf'layers\.{i}\.1\.\d+\.') for i in range(4)],
        num_heads=[width // dim for width in widths],
        sr_ratios=[1 if each is None else each.shape[2] for each in ratios],
        mlp_ratio=len(state[block.format(0, 'ffn.layers.0')]) // dim,
    )  # fmt: skip


def _outputs(state: State) -> tuple[int, ...]:
    return tuple(i for i in range(4) if f'norm{i}.weight' in state) or (3,)


_SETTINGS: dict[str, Callable[[State, str], dict | None]] = {
    'ViT': vit_settings,
    'BEiT': beit_settings,
    'Swin': _swin,
    'ConvNeXt': _convnext,
    'XCiT': _xcit,
    'ResNet': _resnet,
    'HRNet': _hrnet,
    'MiT': _mit,
}
