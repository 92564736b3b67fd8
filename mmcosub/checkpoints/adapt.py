"""Adapt weights in mmpretrain's names to a network of another size or variant.

Positions and sizes are adapted in ``positions.py`` and ``resizing.py``.
"""

import re
from collections.abc import Callable

import torch
from torch import Tensor

from .positions import adapt_positions, count_tokens
from .resizing import Grid, adapt_channels, by, resize_patches, resize_table, table_size
from .weights import State, without_computed

# LayerScale weights and the projections before them; the names of MLPs vary.
_SCALES = {
    r'(layers\.\d+\.attn)\.gamma1\.weight': ('proj',),
    r'(layers\.\d+\.ffn)\.gamma2\.weight': ('layers.1', 'w3'),
}
_SCALE = re.compile('|'.join(_SCALES))
_PATCHES, _PATCH_BIAS = (f'patch_embed.projection.{k}' for k in ('weight', 'bias'))
_TABLE = 'relative_position_bias_table'


def fold_layer_scale(state: State) -> State:
    """Multiply LayerScale into the projection before it; outputs stay equal."""
    folded = dict(state)
    for name, gamma in state.items():
        for pattern, projections in _SCALES.items():
            if match := re.fullmatch(pattern, name):
                del folded[name]
                before = [f'{match[1]}.{projection}' for projection in projections]
                before = [each for each in before if f'{each}.weight' in state]
                weight, bias = f'{before[0]}.weight', f'{before[0]}.bias'
                folded[weight] = folded[weight] * gamma[:, None]
                if bias in folded:
                    folded[bias] = folded[bias] * gamma
    return folded


def fold_patch_bias(state: State, tokens: int) -> State:
    """Add the patch projection's bias to the positions behind those of tokens."""
    folded = dict(state)
    if _PATCH_BIAS in state and 'pos_embed' in state:
        shift = folded.pop(_PATCH_BIAS).expand_as(state['pos_embed']).clone()
        shift[:, :tokens] = 0
        folded['pos_embed'] = state['pos_embed'] + shift
    return folded


def adapt(
    state: State, wanted: State, source: Grid | None, target: Grid | None
) -> tuple[State, list[str]]:
    """Adapt weights to a network.

    ``wanted`` has the network's own weights, ``source`` and ``target`` are the grids of
    patches (height, width) of the positions in both, if known.

    Returns:
        tuple: The adapted weights and descriptions of the changes.

    Raises:
        ValueError: If positions must be resized and their grid is unknown.
    """
    done: list[str] = []
    state = without_computed(state)
    scaled = any(map(_SCALE.fullmatch, state))
    if scaled and not any(map(_SCALE.fullmatch, wanted)):
        state = fold_layer_scale(state)
        done.append('LayerScale multiplied into the projections')
    elif not scaled:
        scales = _fill(state, wanted, _SCALE.pattern, torch.ones_like)
        if scales:
            done.append(f'{scales} LayerScale gammas set to 1, as there are none')
    # BEiT's layers have them, those of a plain ViT do not.
    plain = _fill(state, wanted, r'layers\.\d+\.gamma_[12]', torch.ones_like)
    plain += _fill(state, wanted, rf'layers\.\d+\.attn\.{_TABLE}', torch.zeros_like)
    if plain:
        done.append(
            f'{plain} LayerScale gammas set to 1 and relative position biases to 0, as '
            'there are none'
        )
    _drop_zero_biases(state, wanted)
    if 'pos_embed' in state and 'pos_embed' in wanted:
        state = adapt_positions(state, wanted, source, target, done)
    if _PATCH_BIAS in wanted and _PATCH_BIAS not in state:
        state[_PATCH_BIAS] = torch.zeros_like(wanted[_PATCH_BIAS])
        done.append("the patch projection's bias set to 0, as there is none")
    elif _PATCH_BIAS in state and _PATCH_BIAS not in wanted and 'pos_embed' in wanted:
        state = fold_patch_bias(state, count_tokens(wanted))
        done.append("the patch projection's bias added to the positions")
    adapt_channels(state, wanted, done)
    for name, value in list(state.items()):
        if name not in wanted or value.shape == wanted[name].shape:
            continue
        size = wanted[name].shape[-2:]
        if name == _PATCHES and value.shape[-2:] != size:
            state[name] = resize_patches(value, (size[0], size[1]))
            what, old, new = 'patch projection', by(value), by(state[name])
        elif name.endswith(_TABLE):
            before, after = table_size(value, source), table_size(wanted[name], target)
            state[name] = resize_table(value, before, after)
            what, old, new = name, by(before), by(after)
        else:
            if value.squeeze().shape == wanted[name].squeeze().shape:
                state[name] = value.view_as(wanted[name])  # 1x1 convolution, linear
            continue
        done.append(f'{what} resized from {old} to {new}')
    return state, done


def _fill(
    state: State, wanted: State, pattern: str, value: Callable[[Tensor], Tensor]
) -> int:
    """Add values where a layer that is there lacks them; return their number."""
    layers = {tuple(name.split('.')[:2]) for name in state}
    names = [
        name
        for name in wanted
        if name not in state
        and re.fullmatch(pattern, name)
        and tuple(name.split('.')[:2]) in layers
    ]
    state.update({name: value(wanted[name]) for name in names})
    return len(names)


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
