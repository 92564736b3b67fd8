"""Formats of ResNet, HRNet, ConvNeXt and XCiT.

Those of ResNet have the same names, except V1c's and V1d's deep stem and a no-op
pooling in V1d, which mmpretrain leaves out.
"""

import re

from mmcosub.checkpoints.weights import State

from .table import family


def _without_pooling(state: State) -> State:
    """Skip the no-op pooling in the first stage of timm's V1d."""
    first = 'layer1.0.downsample'
    if f'{first}.0.weight' in state or f'{first}.2.weight' not in state:
        return state
    return _moved(state, -1)


def _with_pooling(state: State) -> State:
    v1d = 'layer2.0.downsample.2.weight' in state
    return _moved(state, 1) if v1d else state


def _moved(state: State, by: int) -> State:
    first = r'(?<=^layer1\.0\.downsample\.)\d+'
    return {
        re.sub(first, lambda number: str(int(number[0]) + by), name): value
        for name, value in state.items()
    }


def _as_linear(state: State) -> State:
    """Convert ConvNeXt's 1x1 convolutions to linear layers and flatten vectors."""
    return {
        name: value.flatten(1)
        if 'pointwise_conv' in name and value.ndim == 4
        else (value.flatten() if name.endswith(('gamma', 'beta')) else value)
        for name, value in state.items()
    }


_STEM = """
    {0}=stem: 0=0.conv 1=0.bn 3=1.conv 4=1.bn 6=2.conv
"""
_MMSEG_STEM = _STEM.format('stem') + 'stem.7=stem.2.bn'
_TIMM_STEM = _STEM.format('conv1') + 'bn1=stem.2.bn fc=head.fc'
_TIMM = """
    stem=downsample_layers.0 stages.*.downsample=downsample_layers.* head.norm=norm3
    stages.*.blocks.*=stages.*.*: conv_dw=depthwise_conv mlp.fc1=pointwise_conv1
    stages.*.blocks.*=stages.*.*: mlp.fc2=pointwise_conv2
    stages.*.blocks.*.mlp.grn=stages.*.*.grn: weight=gamma bias=beta
    stages.*.blocks.*=stages.*.*
"""
_OFFICIAL = """
    stages.*.*=stages.*.*: dwconv=depthwise_conv
    stages.*.*=stages.*.*: pwconv1=pointwise_conv1 pwconv2=pointwise_conv2
    norm=norm3 head=head.fc
"""
_STAGE = """
    features.{1}=downsample_layers.{0}
    features.{2}.*=stages.{0}.*: block.0=depthwise_conv block.2=norm layer_scale=gamma
    features.{2}.*=stages.{0}.*: block.3=pointwise_conv1 block.5=pointwise_conv2
"""
_TORCHVISION = 'classifier.0=norm3 classifier.2=head.fc' + ''.join(
    _STAGE.format(i, 2 * i, 2 * i + 1) for i in range(4)
)
_HUB_CONVNEXT = """
    embeddings=downsample_layers.0: patch_embeddings=0 layernorm=1
    encoder.stages.*.downsampling_layer=downsample_layers.*
    encoder.stages.*.layers.*=stages.*.*: dwconv=depthwise_conv layernorm=norm
    encoder.stages.*.layers.*=stages.*.*: pwconv1=pointwise_conv1
    encoder.stages.*.layers.*=stages.*.*: pwconv2=pointwise_conv2
    encoder.stages.*.layers.*=stages.*.*: layer_scale_parameter=gamma
    encoder.stages.*.layers.*.grn=stages.*.*.grn: weight=gamma bias=beta
    layernorm=norm3 classifier=head.fc
"""
# Their stem numbers activations, too.
_XCIT = """
    {0}=pos_embed: token_projection=token_projection.conv
    patch_embed.proj=patch_embed.proj: 0.0=0.conv 0.1=0.bn 2.0=1.conv 2.1=1.bn
    patch_embed.proj=patch_embed.proj: 4.0=2.conv 4.1=2.bn 6.0=3.conv 6.1=3.bn
    blocks.*.local_mp=xca_layers.*.local_mp: bn=conv1.bn conv1=conv1.conv
    blocks.*.local_mp=xca_layers.*.local_mp: conv2=conv2.conv
    blocks.*.mlp=xca_layers.*.ffn: fc1=layers.0.0 fc2=layers.1
    blocks=xca_layers
    cls_attn_blocks.*.mlp=ca_layers.*.ffn: fc1=layers.0.0 fc2=layers.1
    cls_attn_blocks=ca_layers head=head.fc
"""
_XCIT_MARKS = 'blocks.0.attn.temperature blocks.0.local_mp'
_FIRST = 'layer1.0.conv1'
_TORCHVISION_MARKS = 'features.1.0.block.0 features.1.0.layer_scale'

_POOLING = (_without_pooling, _with_pooling)

FORMATS = [
    # Before ResNet, which has the same mark.
    *family('HRNet', ('HRNet', 'stage2.0.branches.0.0.conv1')),
    *family(
        'ResNet',
        ('mmseg ResNet, deep stem', f'stem.7 {_FIRST}', _MMSEG_STEM, *_POOLING),
        ('timm ResNet, deep stem', f'conv1.6 {_FIRST}', _TIMM_STEM, *_POOLING),
        ('ResNet', _FIRST, 'fc=head.fc'),
    ),
    *family(
        'ConvNeXt',
        ('mmpretrain ConvNeXt', 'stages.0.0.depthwise_conv'),
        ('timm ConvNeXt', 'stages.0.blocks.0.conv_dw', _TIMM, _as_linear),
        ('official ConvNeXt', 'stages.0.0.dwconv', _OFFICIAL, _as_linear),
        ('torchvision ConvNeXt', _TORCHVISION_MARKS, _TORCHVISION, _as_linear),
        (
            'Transformers ConvNeXt',
            'encoder.stages.0.layers.0.dwconv',
            _HUB_CONVNEXT,
            _as_linear,
        ),
    ),
    *family(
        'XCiT',
        ('mmpretrain XCiT', 'xca_layers.0.attn.temperature'),
        ('official XCiT', f'{_XCIT_MARKS} pos_embeder', _XCIT.format('pos_embeder')),
        ('timm XCiT', _XCIT_MARKS, _XCIT.format('pos_embed')),
    ),
]
