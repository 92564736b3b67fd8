"""Formats of BEiT, EVA, EVA-02 and DINOv3: mmpretrain's, timm's and the authors'.

They are one family: timm uses one class for EVA and DINOv3, and EVA is a BEiT with
absolute positions.
"""

import re

from mmcosub.checkpoints.weights import State, without_computed

from .table import TABLE, family, with_indices
from .vit import EMBEDDINGS, fused


def _own_tables(state: State) -> State:
    """Give each layer a copy of the bias table shared in BEiT's pretraining."""
    state = dict(state)
    table = state.pop(f'rel_pos_bias.{TABLE}', None)
    if table is not None:
        layers = {k.split('.')[1] for k in state if k.startswith('layers.')}
        state |= {f'layers.{i}.attn.{TABLE}': table.clone() for i in layers}
    return with_indices(state, tokens=3)


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


def _from_hub(state: State) -> State:
    """Fuse weights and keep biases apart, as those of keys do not count."""
    rest: State = {}
    gated = any('.mlp.fc1_g.' in name for name in state)
    for name, value in state.items():
        name = name if gated else name.replace('mlp.fc1_x', 'ffn.layers.0.0')
        match = re.fullmatch(r'(.+\.attn\.)(query|key|value)\.bias', name)
        if not match:
            rest[name] = value
        elif match[2] != 'key':
            rest[f'{match[1]}{match[2][0]}_bias'] = value
    return fused(rest)


_NAMES = """
    patch_embed.proj=patch_embed.projection
    blocks.*=layers.*: norm1=ln1 norm2=ln2
    blocks.*=layers.*: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
    blocks=layers fc_norm=ln2 norm=ln1 head=head.fc
"""
_OFFICIAL_DINOV3 = f"""
    storage_tokens=reg_token
    blocks.*=layers.*: ls1.gamma=gamma_1 ls2.gamma=gamma_2
    blocks.*=layers.*: mlp.w1=mlp.fc1_g mlp.w2=mlp.fc1_x mlp.w3=ffn.layers.1
    {_NAMES}
"""
_HUB_DINOV3 = f"""
    embeddings.patch_embeddings=patch_embed.projection
    {EMBEDDINGS}
    layer.*.attention=layers.*.attn: q_proj=query k_proj=key v_proj=value o_proj=proj
    layer.*=layers.*: norm1=ln1 norm2=ln2
    layer.*=layers.*: layer_scale1.lambda1=gamma_1 layer_scale2.lambda1=gamma_2
    layer.*=layers.*: mlp.gate_proj=mlp.fc1_g mlp.up_proj=mlp.fc1_x
    layer.*=layers.*: mlp.down_proj=ffn.layers.1
    norm=ln1
"""
_HUB_DINOV3_MARKS = 'embeddings.register_tokens layer.0.mlp.up_proj'
_DINOV3_MARKS = 'storage_tokens blocks.0.attn.qkv'
# A table shared by all layers or of each, or the biases of EVA.
_MARKS = f'rel_pos_bias.{TABLE}|{{0}}.0.attn.{TABLE}|{{0}}.0.attn.q_bias {{0}}.0.{{1}}'
_OUR_MARKS = _MARKS.format('layers', 'ln1')
_TIMM_MARKS = 'blocks.0.mlp.fc1_g|' + _MARKS.format('blocks', 'norm1')
_TIMM_DINOV3_MARKS = 'reg_token blocks.0.gamma_1 blocks.0.norm1'
_VALUES = (_own_tables, without_computed)

FORMATS = family(
    'BEiT',
    # Also mmpretrain's EVA and mmseg's BEiT and MAE.
    ('mmpretrain BEiT', _OUR_MARKS, '', _own_tables),
    ('official DINOv3', _DINOV3_MARKS, _OFFICIAL_DINOV3, _split_bias),
    # Also EVA and EVA-02, and the authors' BEiT and EVA, which have the same names.
    ('timm BEiT', _TIMM_MARKS, _NAMES, *_VALUES),
    ('timm DINOv3', _TIMM_DINOV3_MARKS, _NAMES, *_VALUES),
    ('Transformers DINOv3', _HUB_DINOV3_MARKS, _HUB_DINOV3, _from_hub),
)
