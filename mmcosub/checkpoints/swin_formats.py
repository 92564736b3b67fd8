"""Formats of Swin: mmpretrain's (mmseg's is the same), timm's and the authors'."""

import math

from mmpretrain.models.utils import WindowMSA
from torch import Tensor

from .adapt import is_computed
from .formats import Format, register_format
from .reading import State

_TABLE_NAME = 'relative_position_bias_table'
_ORDER = [0, 2, 1, 3]
"""How patch merging concatenates four neighbours: by column here, by row there."""


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
    state = {k: _reorder(v, True) if _is_merging(k) else v for k, v in state.items()}
    for name, table in list(state.items()):
        if name.endswith(_TABLE_NAME):
            # A buffer in mmpretrain's checkpoints, without which none loads strictly.
            heads, width = table.shape[1], (math.isqrt(table.shape[0]) + 1) // 2
            window = WindowMSA(heads, (width, width), heads)
            index = name.replace(_TABLE_NAME, 'relative_position_index')
            state[index] = window.relative_position_index
    return state


def _from_ours(state: State) -> State:
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
            # At the start of the next stage rather than at the end of one.
            ('layers.1.downsample', 'stages.0.downsample'),
            ('layers.2.downsample', 'stages.1.downsample'),
            ('layers.3.downsample', 'stages.2.downsample'),
        ],
        to_ours=_to_ours,
        from_ours=_from_ours,
    )
)
