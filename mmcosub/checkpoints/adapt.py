"""Adapt weights in mmpretrain's names to a network of another size or variant.

Resizing is bicubic, or such that the outputs stay equal.
"""

import math
import re

import torch
import torch.nn.functional as F
from torch import Tensor

from .formats.table import TABLE
from .positions import Grid, adapt_positions, by, count_tokens
from .weights import State, without_computed

_SCALE = re.compile(r'(layers\.\d+\.)(attn\.gamma1|ffn\.gamma2)\.weight')
# Names, by MLP, of the projections before LayerScale.
_SCALED = {'attn.gamma1': ['attn.proj'], 'ffn.gamma2': ['ffn.layers.1', 'ffn.w3']}
# Values without effect for what a network has and a file lacks.
_NEUTRAL = (
    (rf'{_SCALE.pattern}|layers\.\d+\.gamma_[12]', 1, 'LayerScale gammas'),
    (rf'layers\.\d+\.attn\.{TABLE}', 0, 'relative position biases'),
)
_PATCHES, _PATCH_BIAS = (f'patch_embed.projection.{k}' for k in ('weight', 'bias'))
_DINOV3_BIAS = re.compile(r'layers\.\d+\.attn\.[qv]_bias')  # zero in most networks


def fold_layer_scale(state: State) -> State:
    """Multiply LayerScale into the projection before it; outputs stay equal."""
    folded = dict(state)
    for match in filter(None, map(_SCALE.fullmatch, state)):
        gamma = folded.pop(match[0])
        for name in (f'{match[1]}{projection}' for projection in _SCALED[match[2]]):
            if f'{name}.weight' in state:
                folded[f'{name}.weight'] = state[f'{name}.weight'] * gamma[:, None]
            if f'{name}.bias' in state:
                folded[f'{name}.bias'] = state[f'{name}.bias'] * gamma
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
    """Adapt weights to a network; return them and descriptions of the changes.

    ``wanted`` has the network's own weights, ``source`` and ``target`` are the grids of
    the positions in both, if known.
    """
    done: list[str] = []
    state = without_computed(state)
    scaled = any(map(_SCALE.fullmatch, state))
    if scaled and not any(map(_SCALE.fullmatch, wanted)):
        state = fold_layer_scale(state)
        done.append('LayerScale multiplied into the projections')
    layers = {tuple(name.split('.')[:2]) for name in state}
    for pattern, fill, what in _NEUTRAL:
        lacking = {
            name: torch.full_like(own, fill)
            for name, own in wanted.items()
            if name not in state
            and re.fullmatch(pattern, name)
            and tuple(name.split('.')[:2]) in layers
        }
        state.update(lacking)
        if lacking:
            done.append(f'{len(lacking)} {what} set to {fill}, as there are none')
    for name in [name for name in state if name not in wanted]:
        if _DINOV3_BIAS.fullmatch(name) and not state[name].any():
            del state[name]
    if 'pos_embed' in state and 'pos_embed' in wanted:
        state = adapt_positions(state, wanted, source, target, done)
    biases = [
        name
        for name in wanted
        if name.endswith('.bias') and name not in state
        if f'{name[:-4]}weight' in state
    ]
    if biases:  # of projections without one
        state.update({name: torch.zeros_like(wanted[name]) for name in biases})
        done.append(f'{len(biases)} biases set to 0, as there are none ({biases[0]})')
    if _PATCH_BIAS in state and _PATCH_BIAS not in wanted and 'pos_embed' in wanted:
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
        elif name.endswith(TABLE):
            before, after = table_size(value, source), table_size(wanted[name], target)
            state[name] = resize_table(value, before, after)
            what, old, new = name, by(before), by(after)
        else:
            if value.squeeze().shape == wanted[name].squeeze().shape:
                state[name] = value.view_as(wanted[name])  # 1x1 convolution, linear
            continue
        done.append(f'{what} resized from {old} to {new}')
    return state, done


def table_size(table: Tensor, window: Grid | None = None) -> Grid:
    """Return height and width of a table of relative position biases.

    It is of shape ((2h - 1)(2w - 1), H) for a window of h x w, by default a square;
    BEiT's has three more entries, for the class token.
    """
    length = len(table)
    sizes = [(2 * window[0] - 1, 2 * window[1] - 1)] if window else []
    sides = [math.isqrt(max(length - extra, 0)) for extra in (0, 3)]
    sizes += [(side, side) for side in sides if side % 2]
    for height, width in sizes:
        if length - height * width in (0, 3):
            return height, width
    raise ValueError(
        f'relative positions of {length} entries are of no square window. Give the '
        "height and width in patches: --cfg-options carry_over.grid='(4,16)'."
    )


def resize_table(table: Tensor, before: Grid, after: Grid) -> Tensor:
    """Resize a table of relative position biases, but not the class token's entries.

    It is of shape (height * width, H), plus these entries.
    """
    size = before[0] * before[1]
    cells, tokens = table[:size], table[size:]
    grid = cells.T.reshape(1, -1, *before)
    grid = F.interpolate(grid, after, mode='bicubic', align_corners=False)
    return torch.cat([grid.flatten(2)[0].T, tokens])


def adapt_channels(state: State, wanted: State, done: list[str]) -> None:
    """Adapt the first convolution to another number of channels, as timm does.

    One channel gets the sum over channels, which suits grey images. More channels
    repeat the weights, scaled to keep the sum.

    ``wanted`` has the network's own weights, in order; ``done`` receives a description.
    """
    name = next(
        (k for k, v in wanted.items() if v.ndim == 4 and k.endswith('.weight')), ''
    )
    weight = state.get(name)
    if weight is None or weight.ndim != 4 or len(weight) != len(wanted[name]):
        return
    given, channels = weight.shape[1], wanted[name].shape[1]
    if given == channels:
        return
    if channels == 1:
        state[name] = weight.sum(1, keepdim=True)
    else:
        repeated = weight.repeat(1, -(-channels // given), 1, 1)[:, :channels]
        state[name] = repeated * (given / channels)
    how = 'summed' if channels == 1 else 'repeated, cut and rescaled'
    done.append(f'{name}: input channels {how} from {given} to {channels}')


def resize_patches(weight: Tensor, size: Grid) -> Tensor:
    """Resize a patch projection; resized patches keep their embedding.

    For larger patches, a bilinearly resized patch has exactly the same embedding; for
    smaller ones it is the least-squares solution (FlexiViT, arXiv 2212.08013, eq. 4).
    The weight is of shape (C, 3, h, w), ``size`` the new height and width.
    """
    height, width = weight.shape[-2:]
    pixels = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    resized = F.interpolate(pixels, size, mode='bilinear', align_corners=False)
    # Row i: the resized unit image of pixel i. Embeddings: w @ x = new @ resize.T @ x.
    inverse = torch.linalg.pinv(resized.flatten(1))
    new = weight.flatten(2).double() @ inverse.T
    return new.unflatten(2, size).to(weight.dtype)
