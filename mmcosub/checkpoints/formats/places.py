"""Names that the networks of each library have, to find weights without a place."""

import re
from collections import Counter

from mmpretrain.models.backbones import resnet

from mmcosub.checkpoints.matching import some
from mmcosub.checkpoints.weights import State

_ENDS = r'(\.(weight|bias|running_mean|running_var|num_batches_tracked))?'
_ALL = 'mmpretrain mmseg timm'
_TABLES = 'relative_position_(bias_table|index)'

# Regular expressions of mmpretrain's names, by architecture and libraries. ``*`` stands
# for a number and ``{last}`` for that of the last stage.
_PLACES = {
    'ViT': {
        _ALL: 'cls_token pos_embed patch_embed.projection pre_norm ln1 '
        'layers.*.(ln[12]|attn.(qkv|proj)|ffn.layers.(0.0|1))',
        'mmpretrain timm': 'ln2 dist_token head.(fc|layers.head|layers.head_dist) '
        'layers.*.(attn.gamma1|ffn.gamma2|ffn.w(12|3))',
        'timm': 'reg_token',
    },
    'BEiT': {
        'mmpretrain mmseg timm': 'cls_token patch_embed.projection ln1 '
        'layers.*.(ln[12]|gamma_[12]|ffn.layers.(0.0|1)) '
        f'layers.*.attn.(qkv|proj|[qv]_bias|{_TABLES})',
        'mmpretrain timm': 'pos_embed ln2 head.fc',
        'timm': 'reg_token layers.*.(attn.([qkv]_proj|norm)|mlp.(fc1_[gx]|norm))',
    },
    'Swin': {
        _ALL: 'patch_embed.(projection|norm) stages.*.downsample.(norm|reduction) '
        'stages.*.blocks.*.(norm[12]|ffn.layers.(0.0|1)) norm{last} '
        f'stages.*.blocks.*.attn.w_msa.(qkv|proj|{_TABLES})',
        'mmpretrain timm': 'head.fc',
        'mmseg': 'norm*',
    },
    'ConvNeXt': {
        _ALL: 'downsample_layers.*.[01] norm{last} stages.*.*.'
        '(depthwise_conv|norm|pointwise_conv[12]|gamma|grn.(gamma|beta))',
        'mmpretrain timm': 'head.fc',
        'mmpretrain mmseg': 'norm*',
    },
    'XCiT': {
        _ALL: 'cls_token patch_embed.proj.*.(conv|bn) norm '
        'pos_embed.token_projection.conv '
        '(xca|ca)_layers.*.(norm[123]|gamma[123]|ffn.layers.(0.0|1)) '
        'xca_layers.*.(attn.(temperature|qkv|proj)|local_mp.conv[12].(conv|bn)) '
        'ca_layers.*.attn.[qkv] ca_layers.*.attn.proj',
        'mmpretrain timm': 'head.fc',
    },
    'ResNet': {
        _ALL: 'conv1 bn1 stem.*.(conv|bn) '
        'layer[1-4].*.(conv[123]|bn[123]|downsample.*)',
        'mmpretrain timm': 'head.fc',
    },
    'HRNet': {
        'mmseg': 'conv[12] bn[12] (layer1|transition[123]|stage[234])'
        '(.(*|conv[123]|bn[123]|downsample|branches|fuse_layers))+',
    },
    'MiT': {
        'mmseg': 'layers.*.0.(projection|norm) layers.*.2 '
        'layers.*.1.*.(norm[12]|attn.(norm|sr)|ffn.layers.[014]) '
        'layers.*.1.*.attn.attn.(in_proj_weight|in_proj_bias|out_proj)',
    },
}


def require_places(state: State, family: str, library: str, filename: str) -> None:
    """Raise if a library has no such network, or one without some of the weights.

    Their names are mmpretrain's. An architecture that is not in the table passes.
    """
    if family not in _PLACES:
        return
    rows = _PLACES[family].items()
    places = ' '.join(names for who, names in rows if library in who.split())
    odd = family == 'ResNet' and library != 'timm' and not _is_openmmlab_resnet(state)
    if odd or not places:
        raise ValueError(f'{library} has no {family} of the variant in {filename}.')
    stages = [int(m[1]) for m in (re.match(r'stages\.(\d+)', k) for k in state) if m]
    for mark, meaning in (
        ('.', r'\.'),
        ('*', r'\d+'),
        ('{last}', str(max(stages, default=0))),
        (' ', '|'),
    ):
        places = places.replace(mark, meaning)
    known = re.compile(f'({places}){_ENDS}')
    if homeless := [name for name in state if not known.fullmatch(name)]:
        names = some(sorted(in_model(name, library) for name in homeless))
        raise ValueError(
            f"{filename} does not convert: {library}'s {family} has no place for "
            f'{names}. Nothing was written. Another library may have it (--to timm), '
            f'or train from it as it is: train --backbone {filename}.'
        )


def in_model(name: str, library: str) -> str:
    """Return a weight's name in a classifier or segmentor of OpenMMLab, or timm's."""
    own = library == 'timm' or name.startswith('head.')
    return name if own else f'backbone.{name}'


def _is_openmmlab_resnet(state: State) -> bool:
    """Return True if mmpretrain and mmseg have the depth, width and shortcuts."""
    parts = (name.split('.') for name in state)
    blocks = Counter(stage for stage, _ in {tuple(p[:2]) for p in parts})
    depths = tuple(blocks[f'layer{i}'] for i in range(1, 5))
    block = resnet.Bottleneck if 'layer1.0.conv3.weight' in state else resnet.BasicBlock
    known = (block, depths) in resnet.ResNet.arch_settings.values()
    inner = state['layer1.0.conv2.weight']
    grouped = len(inner) > inner.shape[1]
    # With pooling the norm is third; there it goes with a deep stem.
    norms = ('stem.2.bn.weight', 'layer2.0.downsample.2.weight')
    deep, pooled = (name in state for name in norms)
    return known and (grouped or len(inner) == 64) and (deep or not pooled)
