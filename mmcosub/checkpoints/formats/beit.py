"""Formats of BEiT, EVA, EVA-02 and DINOv3: mmpretrain's, timm's and the authors'.

They are one family: timm uses one class for EVA and DINOv3, and EVA is a BEiT with
absolute positions. Imported before ViT, which shares some marks.
"""

import math
import re

from mmpretrain.models.utils import BEiTAttention

from mmcosub.checkpoints.adapt import is_computed
from mmcosub.checkpoints.reading import State

from .table import Format, register_format

_TABLE = 'relative_position_bias_table'

_NAMES = [
    ('patch_embed.proj', 'patch_embed.projection'),
    ('blocks.{}.norm1', 'layers.{}.ln1'),
    ('blocks.{}.norm2', 'layers.{}.ln2'),
    ('blocks.{}.mlp.fc1', 'layers.{}.ffn.layers.0.0'),
    ('blocks.{}.mlp.fc2', 'layers.{}.ffn.layers.1'),
    ('blocks', 'layers'),
    ('fc_norm', 'ln2'),
    ('norm', 'ln1'),
    ('head', 'head.fc'),
]
_GATED = [
    ('blocks.{}.mlp.w1', 'layers.{}.mlp.fc1_g'),
    ('blocks.{}.mlp.w2', 'layers.{}.mlp.fc1_x'),
    ('blocks.{}.mlp.w12', 'layers.{}.ffn.layers.0.0'),
    ('blocks.{}.mlp.w3', 'layers.{}.ffn.layers.1'),
    ('blocks.{}.mlp.ffn_ln', 'layers.{}.mlp.norm'),
    ('blocks.{}.attn.inner_attn_ln', 'layers.{}.attn.norm'),
]


def own_tables(state: State) -> State:
    """Give each layer a copy of the bias table shared in BEiT's pretraining."""
    state = dict(state)
    table = state.pop(f'rel_pos_bias.{_TABLE}', None)
    if table is not None:
        layers = {k.split('.')[1] for k in state if k.startswith('layers.')}
        state |= {f'layers.{i}.attn.{_TABLE}': table.clone() for i in layers}
    for name, value in list(state.items()):
        if name.endswith(f'attn.{_TABLE}'):
            # Strict loading in mmpretrain needs this buffer.
            width, heads = (math.isqrt(len(value) - 3) + 1) // 2, value.shape[1]
            attention = BEiTAttention(
                heads, heads, (width, width), use_rel_pos_bias=True
            )
            index = name.replace(_TABLE, 'relative_position_index')
            state[index] = attention.relative_position_index
    return state


def _without_computed(state: State) -> State:
    return {name: value for name, value in state.items() if not is_computed(name)}


def _split_bias(state: State) -> State:
    """Split DINOv3's bias into queries and values; that of keys is zero."""
    split: State = {}
    for name, value in state.items():
        if name.endswith(('.bias_mask', 'rope_embed.periods')):
            continue
        if name.endswith('attn.qkv.bias'):
            attention = name.removesuffix('qkv.bias')
            split[attention + 'q_bias'], _, split[attention + 'v_bias'] = value.chunk(3)
        else:
            split[name] = value
    return split


def _bias_of_projections(state: State) -> State:
    """Move the biases that EVA-02's authors store next to a projection."""
    return {
        re.sub(r'attn\.([qv])_bias$', r'attn.\1_proj.bias', name)
        if name.replace('_bias', '_proj.weight') in state
        else name: value
        for name, value in state.items()
    }


# Also mmseg's; its MAE has such tables and absolute positions.
for _name, _mark in (
    ('mmpretrain BEiT', f'layers.0.attn.{_TABLE}'),
    ('mmpretrain BEiT, pretraining', f'rel_pos_bias.{_TABLE}'),
    ('mmpretrain EVA', 'layers.0.attn.q_bias'),
):
    register_format(
        Format(_name, 'BEiT', marks=[_mark, 'layers.0.ln1'], to_ours=own_tables)
    )

register_format(
    Format(
        'official DINOv3',
        'BEiT',
        marks=['storage_tokens', 'blocks.0.attn.qkv'],
        names=[
            ('storage_tokens', 'reg_token'),
            ('blocks.{}.ls1.gamma', 'layers.{}.gamma_1'),
            ('blocks.{}.ls2.gamma', 'layers.{}.gamma_2'),
            *_GATED,
            *_NAMES,
        ],
        to_ours=_split_bias,
    )
)
for _name, _mark in (
    ('official EVA-02', 'blocks.0.mlp.w1'),
    ('official EVA-02, small', 'blocks.0.attn.rope.freqs_cos'),
):
    register_format(
        Format(
            _name,
            'BEiT',
            marks=[_mark, 'blocks.0.norm1'],
            names=[*_GATED, *_NAMES],
            to_ours=_bias_of_projections,
        )
    )
# The authors' BEiT and EVA have the same names.
for _name, *_marks in (
    ('timm BEiT', f'blocks.0.attn.{_TABLE}'),
    ('timm BEiT, pretraining', f'rel_pos_bias.{_TABLE}'),
    ('timm EVA', 'blocks.0.attn.q_bias'),
    ('timm EVA-02', 'blocks.0.mlp.fc1_g'),
    ('timm DINOv3', 'reg_token', 'blocks.0.gamma_1'),
):
    register_format(
        Format(
            _name,
            'BEiT',
            marks=[*_marks, 'blocks.0.norm1'],
            names=_NAMES,
            to_ours=own_tables,
            from_ours=_without_computed,
        )
    )

# Not convertible: its rotary embedding uses other frequencies than the authors'.
register_format(
    Format(
        'mmpretrain EVA-02',
        'mmpretrain EVA-02',
        marks=['layers.0.mlp.w12', 'layers.0.norm1'],
    )
)
