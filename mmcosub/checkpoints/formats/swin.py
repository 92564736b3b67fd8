"""Formats of Swin: mmpretrain's (mmseg's is the same), timm's and the authors'."""

from torch import Tensor

from mmcosub.checkpoints.weights import State, without_computed

from .table import TABLE, family, joined, with_indices
from .vit import QKV

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


def _converted(state: State, to_ours: bool) -> State:
    """Reorder patch merging; name the last norm, which is ``norm3`` in the tables."""
    last = len({name.split('.')[1] for name in state if name.startswith('stages.')}) - 1
    before, after = ('norm3.', f'norm{last}.')[:: 1 if to_ours else -1]
    return {
        after + name.removeprefix(before) if name.startswith(before) else name: (
            _reorder(value, to_ours) if 'downsample' in name else value
        )
        for name, value in state.items()
    }


def _to_ours(state: State) -> State:
    return with_indices(_converted(joined(state, QKV, 'qkv.'), True))


def _from_ours(state: State) -> State:
    return _converted(without_computed(state), False)


_BLOCKS = """
    patch_embed.proj=patch_embed.projection norm=norm3
    layers.*.blocks.*=stages.*.blocks.*: attn=attn.w_msa
    layers.*.blocks.*=stages.*.blocks.*: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
    layers.*.blocks=stages.*.blocks
"""
_OFFICIAL = 'layers.*.downsample=stages.*.downsample head=head.fc' + _BLOCKS
# At the start of the next stage rather than at the end of this one.
_TIMM = f"""
    layers.1.downsample=stages.0.downsample layers.2.downsample=stages.1.downsample
    layers.3.downsample=stages.2.downsample
    {_BLOCKS}
"""
# Stages alternate with patch merging.
_STAGE = """
    features.{1}.*=stages.{0}.blocks.*: attn=attn.w_msa
    features.{1}.*=stages.{0}.blocks.*: mlp.0=ffn.layers.0.0 mlp.3=ffn.layers.1
    features.{1}=stages.{0}.blocks features.{2}=stages.{0}.downsample
"""
_TORCHVISION = (
    'features.0.0=patch_embed.projection features.0.2=patch_embed.norm\n'
    'norm=norm3 head=head.fc\n'
    + ''.join(_STAGE.format(i, 2 * i + 1, 2 * i + 2) for i in range(4))
)
_BLOCK = 'encoder.layers.*.blocks.*=stages.*.blocks.*'
# The first names of an attention are those in memory, the others of files of the hub.
_HUB = f"""
    embeddings=patch_embed: patch_embeddings.projection=projection norm=norm
    encoder.layers.*.downsample=stages.*.downsample layernorm=norm3 classifier=head.fc
    {_BLOCK}: layernorm_before=norm1 layernorm_after=norm2
    {_BLOCK}: attention.q_proj=attn.w_msa.query attention.k_proj=attn.w_msa.key
    {_BLOCK}: attention.v_proj=attn.w_msa.value attention.o_proj=attn.w_msa.proj
    {_BLOCK}: attention.self.query=attn.w_msa.query attention.self.key=attn.w_msa.key
    {_BLOCK}: attention.self.value=attn.w_msa.value
    {_BLOCK}: attention.output.dense=attn.w_msa.proj
    {_BLOCK}: attention.relative_position_bias=attn.w_msa attention.self=attn.w_msa
    {_BLOCK}: mlp.fc1=ffn.layers.0.0 mlp.fc2=ffn.layers.1
    {_BLOCK}: intermediate.dense=ffn.layers.0.0 output.dense=ffn.layers.1
"""
_FIRST = f'layers.0.blocks.0.attn.{TABLE}'
_HUB_FIRST = 'encoder.layers.0.blocks.0.attention'
_HUB_MARK = f'{_HUB_FIRST}.self.{TABLE}|{_HUB_FIRST}.relative_position_bias'

_VALUES = (_to_ours, _from_ours)

FORMATS = family(
    'Swin',
    ('mmpretrain Swin', f'stages.0.blocks.0.attn.w_msa.{TABLE}'),
    ('official Swin', f'{_FIRST} layers.0.downsample', _OFFICIAL, *_VALUES),
    ('timm Swin', _FIRST, _TIMM, *_VALUES),
    ('torchvision Swin', f'features.1.0.attn.{TABLE}', _TORCHVISION, *_VALUES),
    ('Transformers Swin', _HUB_MARK, _HUB, *_VALUES),
)
