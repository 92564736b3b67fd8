"""Formats of SegFormer's MiT; mmseg's names are used, as mmpretrain has none."""

import re

from mmcosub.checkpoints.weights import State

from .table import family, joined

_POINTWISE = re.compile(r'.+\.ffn\.layers\.[04]\.weight')


def _to_ours(state: State) -> State:
    """Fuse queries, keys and values; turn linear layers into 1x1 convolutions."""
    return {
        name: value[..., None, None] if _POINTWISE.fullmatch(name) else value
        for name, value in joined(state, ('q', 'kv', 'k', 'v'), 'attn.in_proj_').items()
    }


_STAGE = """
    patch_embed{1}.proj=layers.{0}.0.projection patch_embed{1}=layers.{0}.0
    norm{1}=layers.{0}.2
    block{1}.*=layers.{0}.1.*: attn.proj=attn.attn.out_proj mlp.fc1=ffn.layers.0
    block{1}.*=layers.{0}.1.*: mlp.dwconv.dwconv=ffn.layers.1 mlp.fc2=ffn.layers.4
    block{1}=layers.{0}.1
"""
_OFFICIAL = ''.join(_STAGE.format(i, i + 1) for i in range(4))
_LAYER = 'encoder.block.*.*=layers.*.1.*'
_HUB = f"""
    encoder.patch_embeddings.*=layers.*.0: proj=projection layer_norm=norm
    encoder.layer_norm.*=layers.*.2
    {_LAYER}: layer_norm_1=norm1 layer_norm_2=norm2
    {_LAYER}: attention.self.query=attn.q attention.self.key=attn.k
    {_LAYER}: attention.self.value=attn.v attention.self.sr=attn.sr
    {_LAYER}: attention.self.layer_norm=attn.norm
    {_LAYER}: attention.output.dense=attn.attn.out_proj mlp.dense1=ffn.layers.0
    {_LAYER}: mlp.dwconv.dwconv=ffn.layers.1 mlp.dense2=ffn.layers.4
"""  # in files of the hub
_LAYER = 'stages.*.blocks.*=layers.*.1.*'
_HUB += f"""
    stages.*.patch_embeddings=layers.*.0: proj=projection layer_norm=norm
    stages.*.layer_norm=layers.*.2
    {_LAYER}: layernorm_before=norm1 layernorm_after=norm2
    {_LAYER}: attention.q_proj=attn.q attention.k_proj=attn.k attention.v_proj=attn.v
    {_LAYER}: attention.sequence_reduction.sequence_reduction=attn.sr
    {_LAYER}: attention.sequence_reduction.layer_norm=attn.norm
    {_LAYER}: attention.o_proj=attn.attn.out_proj mlp.fc1=ffn.layers.0
    {_LAYER}: mlp.dwconv.dwconv=ffn.layers.1 mlp.fc2=ffn.layers.4
"""

_MARKS = 'layers.0.1.0.attn.attn.in_proj_weight layers.0.1.0.ffn.layers.4'
_OFFICIAL_MARKS = 'patch_embed1.proj block1.0.attn.kv block1.0.mlp.dwconv.dwconv'
_HUB_MARKS = (
    'encoder.block.0.0.layer_norm_1|stages.0.blocks.0.layernorm_before '
    'encoder.block.0.0.mlp.dwconv|stages.0.blocks.0.mlp.dwconv'
)
FORMATS = family(
    'MiT',
    ('mmseg MiT', _MARKS),
    ('official MiT', _OFFICIAL_MARKS, _OFFICIAL, _to_ours),
    ('Transformers SegFormer', _HUB_MARKS, _HUB, _to_ours),
)
