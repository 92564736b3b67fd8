"""Formats of SegFormer's MiT; mmseg's names are used, as mmpretrain has none."""

import re
from functools import partial

import torch

from mmcosub.checkpoints.reading import State

from .table import Format, register_format

_STAGES = range(4)
_BLOCK = 'layers.{}.1.{{}}'
_MLP = (('fc1', 0), ('dwconv.dwconv', 1), ('fc2', 4))
_JOINED = re.compile(r'(.+\.attn\.)attn\.in_proj_(weight|bias)')
_POINTWISE = re.compile(r'.+\.ffn\.layers\.[04]\.weight')


def _to_ours(state: State) -> State:
    """Fuse queries, keys and values; turn linear layers into 1x1 convolutions."""
    ours: State = {}
    for name, value in state.items():
        match = re.fullmatch(r'(.+\.attn\.)(q|kv|k|v)\.(weight|bias)', name)
        if match:
            attention, _, kind = match.groups()
            parts = [state.get(f'{attention}{p}.{kind}') for p in ('q', 'kv', 'k', 'v')]
            joined = torch.cat([part for part in parts if part is not None])
            ours[f'{attention}attn.in_proj_{kind}'] = joined
        else:
            ours[name] = value[..., None, None] if _POINTWISE.fullmatch(name) else value
    return ours


def _from_ours(state: State, parts: dict[str, int]) -> State:
    """Split the fused projection into its parts."""
    theirs: State = {}
    for name, value in state.items():
        match = _JOINED.fullmatch(name)
        if match:
            sizes = [thirds * len(value) // 3 for thirds in parts.values()]
            for part, rows in zip(parts, value.split(sizes), strict=True):
                theirs[f'{match[1]}{part}.{match[2]}'] = rows
        else:
            theirs[name] = value.flatten(1) if _POINTWISE.fullmatch(name) else value
    return theirs


register_format(
    Format(
        'mmseg MiT',
        'MiT',
        marks=['layers.0.1.0.attn.attn.in_proj_weight', 'layers.0.1.0.ffn.layers.4'],
    )
)
register_format(
    Format(
        'official MiT',
        'MiT',
        marks=['patch_embed1.proj', 'block1.0.attn.kv', 'block1.0.mlp.dwconv.dwconv'],
        names=[
            names
            for i in _STAGES
            for names in (
                (f'patch_embed{i + 1}.proj', f'layers.{i}.0.projection'),
                (f'patch_embed{i + 1}', f'layers.{i}.0'),
                (f'norm{i + 1}', f'layers.{i}.2'),
                (
                    f'block{i + 1}.{{}}.attn.proj',
                    f'{_BLOCK.format(i)}.attn.attn.out_proj',
                ),
                *(
                    (
                        f'block{i + 1}.{{}}.mlp.{part}',
                        f'{_BLOCK.format(i)}.ffn.layers.{j}',
                    )
                    for part, j in _MLP
                ),
                (f'block{i + 1}', f'layers.{i}.1'),
            )
        ],
        to_ours=_to_ours,
        from_ours=partial(_from_ours, parts={'q': 1, 'kv': 2}),
    )
)

_PARTS = {'query': 'q', 'key': 'k', 'value': 'v'}
_ENCODER = {
    'encoder.patch_embeddings.{}.proj': 'layers.{}.0.projection',
    'encoder.patch_embeddings.{}.layer_norm': 'layers.{}.0.norm',
    'encoder.layer_norm.{}': 'layers.{}.2',
}
_STAGE = {
    'stages.{}.patch_embeddings.proj': 'layers.{}.0.projection',
    'stages.{}.patch_embeddings.layer_norm': 'layers.{}.0.norm',
    'stages.{}.layer_norm': 'layers.{}.2',
}
_HUB = {
    'layer_norm_1': 'norm1',
    'layer_norm_2': 'norm2',
    **{f'attention.self.{theirs}': f'attn.{ours}' for theirs, ours in _PARTS.items()},
    'attention.self.sr': 'attn.sr',
    'attention.self.layer_norm': 'attn.norm',
    'attention.output.dense': 'attn.attn.out_proj',
    'mlp.dense1': 'ffn.layers.0',
    'mlp.dwconv.dwconv': 'ffn.layers.1',
    'mlp.dense2': 'ffn.layers.4',
}
_IN_MEMORY = {  # of version 5
    'layernorm_before': 'norm1',
    'layernorm_after': 'norm2',
    **{f'attention.{each}_proj': f'attn.{each}' for each in _PARTS.values()},
    'attention.sequence_reduction.sequence_reduction': 'attn.sr',
    'attention.sequence_reduction.layer_norm': 'attn.norm',
    'attention.o_proj': 'attn.attn.out_proj',
    'mlp.fc1': 'ffn.layers.0',
    'mlp.dwconv.dwconv': 'ffn.layers.1',
    'mlp.fc2': 'ffn.layers.4',
}
for _name, _block, _outer, _inner in (
    ('Transformers SegFormer', 'encoder.block.{}.{}', _ENCODER, _HUB),
    ('Transformers SegFormer, in memory', 'stages.{}.blocks.{}', _STAGE, _IN_MEMORY),
):
    register_format(
        Format(
            _name,
            'MiT',
            marks=[
                f'{_block.format(0, 0)}.{next(iter(_inner))}',
                f'{_block.format(0, 0)}.mlp.dwconv',
            ],
            names=[
                *_outer.items(),
                *(
                    (f'{_block}.{theirs}', f'layers.{{}}.1.{{}}.{ours}')
                    for theirs, ours in _inner.items()
                ),
            ],
            to_ours=_to_ours,
            from_ours=partial(_from_ours, parts={'q': 1, 'k': 1, 'v': 1}),
        )
    )
