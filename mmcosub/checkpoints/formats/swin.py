"""Formats of Swin: mmpretrain's (mmseg's is the same), timm's and the authors'."""

import math

from mmpretrain.models.utils import WindowMSA
from torch import Tensor

from mmcosub.checkpoints.adapt import is_computed
from mmcosub.checkpoints.reading import State

from .table import Format, register_format
from .transformers import fused

_TABLE_NAME = 'relative_position_bias_table'
_ORDER = [0, 2, 1, 3]
"""Order of the four neighbours in patch merging: by column or by row."""


def _reorder(merging: Tensor, to_ours: bool) -> Tensor:
    """Reorder the inputs of patch merging, along the last dimension of size 4C.

    mmpretrain unfolds with channels outermost, the authors concatenate four maps.
    """
    *rest, size = merging.shape
    if to_ours:
        merging = merging.reshape(*rest, 4, size // 4)[..., _ORDER, :]
    else:
        merging = merging.reshape(*rest, size // 4, 4)[..., _ORDER]
    return merging.transpose(-1, -2).reshape(*rest, size)


def _is_merging(name: str) -> bool:
    return 'downsample' in name


def _to_ours(state: State) -> State:
    state = {
        k: _reorder(v, True) if _is_merging(k) else v for k, v in fused(state).items()
    }
    state = _with_last_norm(state, True)
    for name, table in list(state.items()):
        if name.endswith(_TABLE_NAME):
            # Strict loading in mmpretrain needs this buffer.
            heads, width = table.shape[1], (math.isqrt(table.shape[0]) + 1) // 2
            window = WindowMSA(heads, (width, width), heads)
            index = name.replace(_TABLE_NAME, 'relative_position_index')
            state[index] = window.relative_position_index
    return state


def _with_last_norm(state: State, to_ours: bool) -> State:
    """Name the last norm by the number of stages, which is 4 in tables of names."""
    last = len({name.split('.')[1] for name in state if name.startswith('stages.')}) - 1
    before, after = ('norm3.', f'norm{last}.')[:: 1 if to_ours else -1]
    return {
        after + name.removeprefix(before) if name.startswith(before) else name: value
        for name, value in state.items()
    }


def _from_ours(state: State) -> State:
    state = _with_last_norm(state, False)
    return {
        name: _reorder(value, False) if _is_merging(name) else value
        for name, value in state.items()
        if not is_computed(name)
    }


_BLOCKS = [
    ('patch_embed.proj', 'patch_embed.projection'),
    ('layers.{}.blocks.{}.attn', 'stages.{}.blocks.{}.attn.w_msa'),
    ('layers.{}.blocks.{}.mlp.fc1', 'stages.{}.blocks.{}.ffn.layers.0.0'),
    ('layers.{}.blocks.{}.mlp.fc2', 'stages.{}.blocks.{}.ffn.layers.1'),
    ('layers.{}.blocks', 'stages.{}.blocks'),
    ('norm', 'norm3'),
]
_TABLE = f'blocks.0.attn.{_TABLE_NAME}'

register_format(
    Format(
        'mmpretrain Swin',
        'Swin',
        marks=['stages.0.blocks.0.attn.w_msa.relative_position_bias_table'],
    )
)
register_format(
    Format(
        'official Swin',
        'Swin',
        marks=[f'layers.0.{_TABLE}', 'layers.0.downsample'],
        names=[
            *_BLOCKS,
            ('layers.{}.downsample', 'stages.{}.downsample'),
            ('head', 'head.fc'),
        ],
        to_ours=_to_ours,
        from_ours=_from_ours,
    )
)
register_format(
    Format(
        'timm Swin',
        'Swin',
        marks=[f'layers.0.{_TABLE}'],
        names=[
            *_BLOCKS,
            # At the start of the next stage rather than at the end of this one.
            ('layers.1.downsample', 'stages.0.downsample'),
            ('layers.2.downsample', 'stages.1.downsample'),
            ('layers.3.downsample', 'stages.2.downsample'),
        ],
        to_ours=_to_ours,
        from_ours=_from_ours,
    )
)
register_format(
    Format(
        'torchvision Swin',
        'Swin',
        marks=[f'features.1.0.attn.{_TABLE_NAME}'],
        names=[
            ('features.0.0', 'patch_embed.projection'),
            ('features.0.2', 'patch_embed.norm'),
            # Stages alternate with patch merging.
            *(
                names
                for i in range(4)
                for names in (
                    *(
                        (
                            f'features.{2 * i + 1}.{{}}.{a}',
                            f'stages.{i}.blocks.{{}}.{b}',
                        )
                        for a, b in (
                            ('attn', 'attn.w_msa'),
                            ('mlp.0', 'ffn.layers.0.0'),
                            ('mlp.3', 'ffn.layers.1'),
                        )
                    ),
                    (f'features.{2 * i + 1}', f'stages.{i}.blocks'),
                    (f'features.{2 * i + 2}', f'stages.{i}.downsample'),
                )
            ),
            ('norm', 'norm3'),
            ('head', 'head.fc'),
        ],
        to_ours=_to_ours,
        from_ours=_from_ours,
    )
)
_BLOCK = 'encoder.layers.{}.blocks.{}'
for _name, _mark, _parts in (
    (
        'Transformers Swin',
        f'attention.self.{_TABLE_NAME}',
        {
            **{
                f'attention.self.{p}': f'attn.w_msa.{p}'
                for p in ('query', 'key', 'value')
            },
            f'attention.self.{_TABLE_NAME}': f'attn.w_msa.{_TABLE_NAME}',
            'attention.output.dense': 'attn.w_msa.proj',
            'intermediate.dense': 'ffn.layers.0.0',
            'output.dense': 'ffn.layers.1',
        },
    ),
    (
        'Transformers Swin, in memory',
        'attention.relative_position_bias',
        {
            **{
                f'attention.{p[0]}_proj': f'attn.w_msa.{p}'
                for p in ('query', 'key', 'value')
            },
            'attention.o_proj': 'attn.w_msa.proj',
            'attention.relative_position_bias': 'attn.w_msa',
            'mlp.fc1': 'ffn.layers.0.0',
            'mlp.fc2': 'ffn.layers.1',
        },
    ),
):
    register_format(
        Format(
            _name,
            'Swin',
            marks=[f'{_BLOCK.format(0, 0)}.{_mark}'],
            names=[
                ('embeddings.patch_embeddings.projection', 'patch_embed.projection'),
                ('embeddings.norm', 'patch_embed.norm'),
                *(
                    (f'{_BLOCK}.{theirs}', f'stages.{{}}.blocks.{{}}.{ours}')
                    for theirs, ours in {
                        **_parts,
                        'layernorm_before': 'norm1',
                        'layernorm_after': 'norm2',
                    }.items()
                ),
                ('encoder.layers.{}.downsample', 'stages.{}.downsample'),
                ('layernorm', 'norm3'),
                ('classifier', 'head.fc'),
            ],
            to_ours=_to_ours,
        )
    )
