"""Models of MMPretrain and MMSegmentation as timm's and Transformers'.

Settings that the weights do not tell are not all compared here: whoever builds one of
these networks has to compare its outputs.
"""

import math
import re
from typing import Any

from mmpretrain.models.classifiers import TimmClassifier
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn

from mmcosub.checkpoints import convert_checkpoint
from mmcosub.checkpoints.formats.table import FORMATS

_State = dict[str, Tensor]
_TABLE = 'stages.{}.blocks.0.attn.w_msa.relative_position_bias_table'


def refusal(what: str) -> ValueError:
    """Return the error for a model that neither library has."""
    return ValueError(
        f'Neither timm nor Transformers has the same model as {what}. A folder can be '
        'written of classifiers (VisionTransformer, SwinTransformer, ConvNeXt, ResNet) '
        'and of UPerHead on SwinTransformer or ConvNeXt. `mmcosub export` writes any '
        'model to ONNX.'
    )


def timm_classifier(model: Any, size: tuple[int, int], file: str) -> nn.Module:
    """Return timm's network for images of a size, with a checkpoint's weights."""
    import timm

    if isinstance(model, TimmClassifier):
        raise ValueError(
            "TimmClassifier is timm's network already: `mmcosub convert CHECKPOINT OUT "
            '--to timm` writes its weights.'
        )
    backbone, kind = model.backbone, type(model.backbone).__name__
    state = backbone.state_dict()
    if kind == 'VisionTransformer':
        settings = dict(img_size=size, **_vit(backbone, state))
        name = 'vit_base_patch16_224'
    elif kind == 'SwinTransformer':
        settings = dict(img_size=size, **_swin(backbone, state))
        name = 'swin_tiny_patch4_window7_224'
    elif kind == 'ConvNeXt':
        v2 = 'stages.0.0.grn.gamma' in state
        name, settings = f'convnext{"v2" * v2}_tiny', _convnext(backbone, state, 'dims')
    elif kind in ('ResNet', 'ResNetV1c', 'ResNetV1d'):
        name = 'resnet50' if 'layer1.0.conv3.weight' in state else 'resnet18'
        settings = _resnet(backbone, state)
    else:
        raise refusal(f'a classifier with {kind}')
    if len(getattr(model.head, 'layers', ())) > 1:
        raise refusal(f'{kind} with a head of several layers')
    settings['in_chans'] = settings.pop('num_channels')
    classes = model.head.num_classes
    network: Any = timm.create_model(name, num_classes=classes, **settings)
    weights = convert_checkpoint(file, 'timm')[0]
    if kind == 'VisionTransformer':  # which resizes them in every forward
        weights['pos_embed'] = resize_pos_embed(
            weights['pos_embed'], backbone.patch_resolution,
            network.patch_embed.grid_size, backbone.interpolate_mode,
            backbone.num_extra_tokens,
        )  # fmt: skip
    _load(network, weights, kind)
    return network


def _vit(backbone: Any, state: _State) -> dict:
    dim, channels, patch = state['patch_embed.projection.weight'].shape[:3]
    scaled = 'layers.0.attn.gamma1.weight' in state
    return dict(
        patch_size=patch, num_channels=channels, embed_dim=dim,
        depth=len(backbone.layers),
        num_heads=backbone.layers[0].attn.num_heads,
        mlp_ratio=len(state['layers.0.ffn.layers.0.0.weight']) / dim,
        qkv_bias='layers.0.attn.qkv.bias' in state, class_token='cls_token' in state,
        init_values=1.0 if scaled else None, pre_norm='pre_norm.weight' in state,
        global_pool='avg' if backbone.out_type == 'avg_featmap' else 'token',
    )  # fmt: skip


def _swin(backbone: Any, state: _State) -> dict:
    tables = [state[_TABLE.format(i)] for i in range(len(backbone.stages))]
    dim, channels, patch = state['patch_embed.projection.weight'].shape[:3]
    return dict(
        patch_size=patch, num_channels=channels, embed_dim=dim,
        depths=[len(stage.blocks) for stage in backbone.stages],
        num_heads=[table.shape[1] for table in tables],
        window_size=(math.isqrt(len(tables[0])) + 1) // 2,
        mlp_ratio=len(state['stages.0.blocks.0.ffn.layers.0.0.weight']) / dim,
    )  # fmt: skip


def _convnext(backbone: Any, state: _State, widths: str) -> dict:
    stem = state['downsample_layers.0.0.weight']
    return {
        'num_channels': stem.shape[1],
        'patch_size': stem.shape[2],
        'depths': [len(stage) for stage in backbone.stages],
        widths: list(backbone.channels),
    }


def _resnet(backbone: Any, state: _State) -> dict:
    deep = 'stem.0.conv.weight' in state
    first = state['stem.0.conv.weight' if deep else 'conv1.weight']
    return dict(
        num_channels=first.shape[1], stem_width=len(first),
        stem_type='deep' if deep else '', avg_down=bool(backbone.avg_down),
        layers=[len(getattr(backbone, name)) for name in backbone.res_layers],
    )  # fmt: skip


def upernet(model: Any, size: tuple[int, int]) -> Any:
    """Return Transformers' UPerNet for images of a size, without auxiliary head."""
    backbone, head = model.backbone, model.decode_head
    kinds = type(head).__name__, type(backbone).__name__
    what = ' on '.join(kinds)
    if kinds not in (('UPerHead', 'SwinTransformer'), ('UPerHead', 'ConvNeXt')):
        raise refusal(what)
    try:
        import transformers
    except ImportError:
        raise ValueError('This needs Transformers: pip install transformers.') from None
    full = backbone.state_dict()
    state = {k: v for k, v in full.items() if not re.match(r'norm\d', k)}
    stages = {i: f'stage{i + 1}' for i in backbone.out_indices}
    if kinds[1] == 'ConvNeXt':
        v2 = 'stages.0.0.grn.gamma' in state
        make = transformers.ConvNextV2Config if v2 else transformers.ConvNextConfig
        settings = _convnext(backbone, state, 'hidden_sizes')
        prefix, layout = 'backbone.', 'Transformers ConvNeXt'
    else:
        make = transformers.SwinConfig
        settings = dict(image_size=size, **_swin(backbone, state))
        prefix, layout = 'backbone.swin.', 'Transformers Swin'
        state = _split(state)
    theirs = FORMATS[layout].from_our_state(state)
    weights = {f'{prefix}{name}': value for name, value in theirs.items()}
    for name in full:
        if match := re.match(r'norm(\d)\.', name):
            norm = f'backbone.hidden_states_norms.{stages[int(match[1])]}'
            weights[f'{norm}.{name[match.end() :]}'] = full[name]
    for name, value in head.state_dict().items():
        name = name.replace('.bn.', '.batch_norm.').replace('conv_seg.', 'classifier.')
        weights[f'decode_head.{name}'] = value
    names = model.dataset_meta.get('classes') or range(head.num_classes)
    config = transformers.UperNetConfig(
        backbone_config=make(out_features=[*stages.values()], **settings),
        hidden_size=head.channels,
        pool_scales=list(head.psp_modules.pool_scales),
        use_auxiliary_head=False,
        id2label={i: str(name) for i, name in enumerate(names)},
        label2id={str(name): i for i, name in enumerate(names)},
    )
    network = transformers.UperNetForSemanticSegmentation(config)
    for name, value in network.state_dict().items():
        if name.startswith('backbone.swin.layernorm.'):  # is not used
            weights[name] = value
    _load(network, weights, what)
    return network


def _split(state: _State) -> _State:
    """Split queries, keys and values."""
    split: _State = {}
    for name, value in state.items():
        parts = ('query', 'key', 'value') if '.qkv.' in name else ('qkv',)
        for part, rows in zip(parts, value.tensor_split(len(parts)), strict=True):
            split[name.replace('.qkv.', f'.{part}.')] = rows
    return split


def _load(network: nn.Module, weights: _State, what: str) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise refusal(f'this variant of {what} ({error})') from error
