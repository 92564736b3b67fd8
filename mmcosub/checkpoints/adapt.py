"""Adapt weights in mmpretrain's names to a network of another size or variant.

Resizing is bicubic, or such that the outputs stay equal.
"""

import math
import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .positions import Grid, adapt_positions, by, count_tokens
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
