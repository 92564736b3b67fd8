"""Formats of BEiT, EVA, EVA-02 and DINOv3: mmpretrain's, timm's and the authors'.

They are one family: timm uses one class for EVA and DINOv3, and EVA is a BEiT with
absolute positions.
"""

import re

from mmpretrain.models.utils import BEiTAttention
from torch import nn

from mmcosub.checkpoints.weights import State, without_computed

from .table import TABLE, family, with_indices
from .vit import EMBEDDINGS, HUB_LAYER, LAYER, NORMS, fused, transformers


def _own_tables(state: State) -> State:
    """Give each layer a copy of the bias table shared in BEiT's pretraining."""
    state = dict(state)
    table = state.pop(f'rel_pos_bias.{TABLE}', None)
    if table is not None:
        layers = {k.split('.')[1] for k in state if k.startswith('layers.')}
        state |= {f'layers.{i}.attn.{TABLE}': table.clone() for i in layers}
    return with_indices(state, _attention, tokens=3)


def _attention(heads: int, width: int) -> nn.Module:
    return BEiTAttention(heads, heads, (width, width), use_rel_pos_bias=True)


def _split_bias(state: State) -> State:
    """Split DINOv3's bias into queries and values; that of keys is zero."""
    split: State = {}
    for name, value in state.items():
        if name.endswith('attn.qkv.bias'):
            attention = name.removesuffix('qkv.bias')
            split[attention + 'q_bias'], _, split[attention + 'v_bias'] = value.chunk(3)
        elif not name.endswith(('.bias_mask', 'rope_embed.periods')):
            split[name] = value
    return split


def _move_bias(state: State) -> State:
    """Move the biases that EVA-02's authors store next to a projection."""
    return {
        re.sub(r'attn\.([qv])_bias$', r'attn.\1_proj.bias', name)
        if name.replace('_bias', '_proj.weight') in state
        else name: value
        for name, value in state.items()
    }


def _from_hub(state: State) -> State:
    """Fuse weights and keep biases apart, as those of keys do not count."""
    rest: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn\.)(query|key|value)\.bias', name)
        if not match:
            rest[name] = value
        elif match[2] != 'key':
            rest[f'{match[1]}{match[2][0]}_bias'] = value
    return _own_tables(fused(rest))


_NAMES = """
    patch_embed.proj=patch_embed.projection
    blocks.*=layers.*: norm1=ln1 norm2=ln2
    blocks.*=layers.*: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
    blocks=layers fc_norm=ln2 norm=ln1 head=head.fc
"""
_GATED = """
    blocks.*=layers.*: mlp.w1=mlp.fc1_g mlp.w2=mlp.fc1_x mlp.w12=ffn.layers.0.0
    blocks.*=layers.*: mlp.w3=ffn.layers.1 mlp.ffn_ln=mlp.norm
    blocks.*=layers.*: attn.inner_attn_ln=attn.norm
"""
_OFFICIAL_DINOV3 = f"""
    storage_tokens=reg_token
    blocks.*=layers.*: ls1.gamma=gamma_1 ls2.gamma=gamma_2
    {_GATED + _NAMES}
"""
_BEIT_LAYER = """
    {0}=layers.*: attention.attention.relative_position_bias=attn
    {0}=layers.*: relative_position_bias=attn lambda_1=gamma_1 lambda_2=gamma_2
"""
_HUB_DINOV3 = f"""
    embeddings.patch_embeddings=patch_embed.projection
    {EMBEDDINGS}
    layer.*.attention=layers.*.attn: q_proj=query k_proj=key v_proj=value o_proj=proj
    layer.*=layers.*: norm1=ln1 norm2=ln2
    layer.*=layers.*: layer_scale1.lambda1=gamma_1 layer_scale2.lambda1=gamma_2
    layer.*=layers.*: mlp.gate_proj=mlp.fc1_g mlp.down_proj=ffn.layers.1
    norm=ln1
"""
_HUB = transformers('encoder.layer.*', HUB_LAYER, NORMS, _BEIT_LAYER)
_IN_MEMORY = transformers('layers.*', LAYER, NORMS, _BEIT_LAYER)

_UP = 'layer.*=layers.*: mlp.up_proj='
_LN1, _NORM1, _TOKEN = 'layers.0.ln1', 'blocks.0.norm1', 'embeddings.cls_token'
_SHARED, _ROPE = f'rel_pos_bias.{TABLE}', 'blocks.0.attn.rope.freqs_cos'
_DINOV3_MARKS = 'storage_tokens blocks.0.attn.qkv'
_EVA_02 = _GATED + _NAMES
_REGISTERS = 'embeddings.register_tokens'
_VALUES = (_own_tables, without_computed)

FORMATS = [
    *family(
        'BEiT',
        # Also mmseg's; its MAE has such tables and absolute positions.
        ('mmpretrain BEiT', f'layers.0.attn.{TABLE} {_LN1}', '', _own_tables),
        ('mmpretrain BEiT, pretraining', f'{_SHARED} {_LN1}', '', _own_tables),
        ('mmpretrain EVA', f'layers.0.attn.q_bias {_LN1}', '', _own_tables),
        ('official DINOv3', _DINOV3_MARKS, _OFFICIAL_DINOV3, _split_bias),
        ('official EVA-02', f'blocks.0.mlp.w1 {_NORM1}', _EVA_02, _move_bias),
        ('official EVA-02, small', f'{_ROPE} {_NORM1}', _EVA_02, _move_bias),
        # The authors' BEiT and EVA have the same names.
        ('timm BEiT', f'blocks.0.attn.{TABLE} {_NORM1}', _NAMES, *_VALUES),
        ('timm BEiT, pretraining', f'{_SHARED} {_NORM1}', _NAMES, *_VALUES),
        ('timm EVA', f'blocks.0.attn.q_bias {_NORM1}', _NAMES, *_VALUES),
        ('timm EVA-02', f'blocks.0.mlp.fc1_g {_NORM1}', _NAMES, *_VALUES),
        ('timm DINOv3', f'reg_token blocks.0.gamma_1 {_NORM1}', _NAMES, *_VALUES),
        ('Transformers BEiT', f'encoder.layer.0.lambda_1 {_TOKEN}', _HUB, _from_hub),
        (
            'Transformers BEiT, in memory',
            f'layers.0.lambda_1 {_TOKEN}',
            _IN_MEMORY,
            _from_hub,
        ),
        (
            'Transformers DINOv3, gated',
            f'layer.0.mlp.gate_proj {_REGISTERS}',
            f'{_UP}mlp.fc1_x {_HUB_DINOV3}',
            _from_hub,
        ),
        (
            'Transformers DINOv3',
            f'layer.0.mlp.up_proj {_REGISTERS}',
            f'{_UP}ffn.layers.0.0 {_HUB_DINOV3}',
            _from_hub,
        ),
    ),
    # Not convertible: its rotary embedding uses other frequencies than the authors'.
    *family(
        'mmpretrain EVA-02',
        ('mmpretrain EVA-02', 'layers.0.mlp.w12 layers.0.norm1'),
    ),
]
