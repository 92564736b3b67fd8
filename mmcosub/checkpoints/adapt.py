"""Adapt weights in mmpretrain's names to a network of another size or variant.

Positions and sizes are adapted in ``positions.py`` and ``resizing.py``.
"""

import re

import torch

from .positions import adapt_positions, count_tokens, without_padding
from .reading import State
from .resizing import Grid, adapt_channels, by, resize_patches, resize_table, table_size

# LayerScale weights and the projections before them; the names of MLPs vary.
_SCALES = {
    r'(layers\.\d+\.attn)\.gamma1\.weight': ('proj',),
    r'(layers\.\d+\.ffn)\.gamma2\.weight': ('layers.1', 'w3'),
}
_PATCHES = 'patch_embed.projection.weight'
_TABLE = 'relative_position_bias_table'


def fold_layer_scale(state: State) -> State:
    """Multiply LayerScale into the projection before it; outputs stay equal."""
    folded = dict(state)
    for name, gamma in state.items():
        for pattern, projections in _SCALES.items():
            match = re.fullmatch(pattern, name)
            if match:
                del folded[name]
                before = [f'{match[1]}.{projection}' for projection in projections]
                before = [each for each in before if f'{each}.weight' in state]
                weight, bias = f'{before[0]}.weight', f'{before[0]}.bias'
                folded[weight] = folded[weight] * gamma[:, None]
                if bias in folded:
                    folded[bias] = folded[bias] * gamma
    return folded


def fold_patch_bias(state: State) -> State:
    """Add the patch projection's bias to the position embedding."""
    bias, positions = state.get('patch_embed.projection.bias'), state.get('pos_embed')
    if bias is None or positions is None:
        return state
    shift = bias.expand_as(positions).clone()
    shift[:, : count_tokens(state)] = 0
    folded = {**state, 'pos_embed': positions + shift}
    del folded['patch_embed.projection.bias']
    return folded


def adapt(
    state: State, wanted: State, source: Grid | None, target: Grid | None
) -> tuple[State, list[str]]:
    """Adapt weights to a network.

    Args:
        state (dict[str, Tensor]): Weights, in mmpretrain's names.
        wanted (dict[str, Tensor]): The network's own, for their shapes.
        source (tuple[int, int], optional): Grid of patches (height, width) of the
            positions in ``state``. None if unknown.
        target (tuple[int, int], optional): Grid of the network.

    Returns:
        tuple: The adapted weights and descriptions of the changes.

    Raises:
        ValueError: If positions must be resized and their grid is unknown.
    """
    done: list[str] = []
    state = {k: v for k, v in state.items() if not is_computed(k)}
    state = without_padding(state, source or target)
    if _has_scales(state) and not _has_scales(wanted):
        state = fold_layer_scale(state)
        done.append('LayerScale multiplied into the projections')
    elif _has_scales(wanted) and not _has_scales(state):
        there = {_layer(name) for name in state}
        names = [k for k in wanted if _is_scale(k) and _layer(k) in there]
        scales = {k: torch.ones_like(wanted[k]) for k in names}
        state = {**state, **scales}
        done.append(f'{len(scales)} LayerScale gammas set to 1, as there are none')
    _fill_plain(state, wanted, done)
    _drop_zero_biases(state, wanted)
    bias = 'patch_embed.projection.bias'
    if bias in wanted and bias not in state:
        state[bias] = torch.zeros_like(wanted[bias])
        done.append("the patch projection's bias set to 0, as there is none")
    elif bias in state and bias not in wanted and 'pos_embed' in wanted:
        state = fold_patch_bias(state)
        done.append("the patch projection's bias added to the positions")
    if 'pos_embed' in state and 'pos_embed' in wanted:
        state = adapt_positions(state, wanted, source, target, done)
    adapt_channels(state, wanted, done)
    if _PATCHES in state and _PATCHES in wanted:
        patches, size = state[_PATCHES], wanted[_PATCHES].shape[-2:]
        if patches.shape[-2:] != size:
            resized = resize_patches(patches, (size[0], size[1]))
            state[_PATCHES] = resized
            done.append(f'patch projection resized from {by(patches)} to {by(resized)}')
    for name, value in state.items():
        if name in wanted and value.shape != wanted[name].shape:
            if name.endswith(_TABLE):
                before = table_size(value, source)
                after = table_size(wanted[name], target)
                state[name] = resize_table(value, before, after)
                done.append(f'{name} resized from {by(before)} to {by(after)}')
            elif value.squeeze().shape == wanted[name].squeeze().shape:
                state[name] = value.view_as(wanted[name])  # 1x1 convolution, linear
    return state, done


def _fill_plain(state: State, wanted: State, done: list) -> None:
    """Add neutral values of what BEiT's layers have and a plain ViT's do not."""
    filled, there = [], {_layer(name) for name in state}
    for name, value in wanted.items():
        if _layer(name) not in there:
            continue
        if name not in state and re.fullmatch(r'layers\.\d+\.gamma_[12]', name):
            state[name] = torch.ones_like(value)
            filled.append(name)
        elif name not in state and name.endswith(f'attn.{_TABLE}'):
            state[name] = torch.zeros_like(value)
            filled.append(name)
    if filled:
        done.append(
            f'{len(filled)} LayerScale gammas set to 1 and relative position biases to '
            '0, as there are none'
        )


def _drop_zero_biases(state: State, wanted: State) -> None:
    """Drop DINOv3's query and value biases, which are zero in most networks."""
    if any(name.endswith(('q_bias', 'qkv.bias', 'q_proj.bias')) for name in wanted):
        return
    biases = {k for k in state if re.fullmatch(r'layers\.\d+\.attn\.[qv]_bias', k)}
    if any(torch.any(state[name]) for name in biases):
        raise ValueError(
            'its attention has a bias, for which the backbone has no place. timm has a '
            "variant with one: model_name='..._dinov3_qkvb'."
        )
    for name in biases:
        del state[name]


def is_computed(name: str) -> bool:
    """Return True for a buffer that the network computes for its own size."""
    return name.endswith(
        (
            'relative_position_index',
            'relative_coords_table',
            'attn_mask',
            'freqs_cos',
            'freqs_sin',
        )
    )


def _layer(name: str) -> str:
    return '.'.join(name.split('.')[:2])


def _is_scale(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in _SCALES)


def _has_scales(state: State) -> bool:
    return any(map(_is_scale, state))
