"""Fitting weights, in mmpretrain's names, to a network of another size or form.

Shapes: ``N`` patches, ``C`` channels, ``H`` heads.
"""

import math
import re

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor

from .reading import State

Grid = tuple[int, int]

_TOKENS = ('cls_token', 'dist_token')
_SCALES = {
    r'(layers\.\d+\.attn)\.gamma1\.weight': 'proj',
    r'(layers\.\d+\.ffn)\.gamma2\.weight': 'layers.1',
}
_PATCHES = 'patch_embed.projection.weight'
_TABLE = 'relative_position_bias_table'


def position_per_token(state: State) -> State:
    """Give the class token of a DeiT III or timm network a position, of zero.

    There, positions may be those of patches only. Adding zero is the same function.
    """
    positions = state.get('pos_embed')
    if positions is None or 'cls_token' not in state or positions.ndim != 3:
        return state
    if math.isqrt(positions.shape[1]) ** 2 != positions.shape[1]:
        return state
    zero = positions.new_zeros(1, _tokens(state), positions.shape[2])
    return {**state, 'pos_embed': torch.cat([zero, positions], dim=1)}


def fold_class_position(state: State) -> State:
    """The inverse of :func:`position_per_token`: add positions of tokens to them."""
    positions, count = state.get('pos_embed'), _tokens(state)
    if positions is None or not count:
        return state
    state = {**state, 'pos_embed': positions[:, count:]}
    for i, token in enumerate(t for t in _TOKENS if t in state):
        state[token] = state[token] + positions[:, i : i + 1]
    return state


def fold_layer_scale(state: State) -> State:
    """Multiply LayerScale into the projection before it: the same function."""
    folded = dict(state)
    for name, gamma in state.items():
        for pattern, projection in _SCALES.items():
            match = re.fullmatch(pattern, name)
            if match:
                del folded[name]
                weight = f'{match[1]}.{projection}.weight'
                bias = f'{match[1]}.{projection}.bias'
                folded[weight] = folded[weight] * gamma[:, None]
                if bias in folded:
                    folded[bias] = folded[bias] * gamma
    return folded


def fold_patch_bias(state: State) -> State:
    """Add the patch projection's bias to patches' positions: the same function."""
    bias, positions = state.get('patch_embed.projection.bias'), state.get('pos_embed')
    if bias is None or positions is None:
        return state
    shift = bias.expand_as(positions).clone()
    shift[:, : _tokens(state)] = 0
    folded = {**state, 'pos_embed': positions + shift}
    del folded['patch_embed.projection.bias']
    return folded


def adapt(
    state: State, wanted: State, source: Grid | None, target: Grid | None
) -> tuple[State, list[str]]:
    """Fit weights to a network.

    Args:
        state (dict[str, Tensor]): Weights, in mmpretrain's names.
        wanted (dict[str, Tensor]): The network's own, in the same names, for shapes.
        source (tuple[int, int], optional): Patches by height and width that the
            positions of ``state`` are for. None to take a square.
        target (tuple[int, int], optional): The same of the network.

    Returns:
        tuple: The weights that fit, others as they are, and what was done, in words.

    Raises:
        ValueError: If positions are of no square grid and ``source`` is not given.
    """
    done: list[str] = []
    state = {k: v for k, v in state.items() if not is_computed(k)}
    if _has_scales(state) and not _has_scales(wanted):
        state = fold_layer_scale(state)
        done.append('LayerScale multiplied into the projections')
    elif _has_scales(wanted) and not _has_scales(state):
        scales = {k: torch.ones_like(v) for k, v in wanted.items() if _is_scale(k)}
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
        state = _adapt_positions(state, wanted, source, target, done)
    if _PATCHES in state and _PATCHES in wanted:
        patches, size = state[_PATCHES], wanted[_PATCHES].shape[-2:]
        if patches.shape[-2:] != size:
            resized = resize_patches(patches, (size[0], size[1]))
            state[_PATCHES] = resized
            done.append(
                f'patch projection resized from {_by(patches)} to {_by(resized)}'
            )
    for name, value in state.items():
        if name in wanted and value.shape != wanted[name].shape:
            if name.endswith(_TABLE):
                state[name] = resize_table(value, wanted[name].shape[0])
                before, after = (math.isqrt(t.shape[0]) for t in (value, wanted[name]))
                done.append(f'{name} resized from {before}x{before} to {after}x{after}')
            elif value.squeeze().shape == wanted[name].squeeze().shape:
                state[name] = value.view_as(wanted[name])  # 1x1 convolution, linear
    return state, done


def _fill_plain(state: State, wanted: State, done: list) -> None:
    """What BEiT's layers have and a plain ViT's do not, so that it changes nothing."""
    filled = []
    for name, value in wanted.items():
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
    """DINOv3's biases of queries and values are zero in most of its networks."""
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


def resize_table(table: Tensor, size: int) -> Tensor:
    """Resize a table of relative position biases, bicubically.

    Args:
        table (Tensor): Of shape ((2w - 1)^2, H) for a window of w x w; BEiT's has three
            entries more, those of the class token.
        size (int): The wanted first dimension.

    Returns:
        Tensor: Of shape (size, H).
    """
    before, after = math.isqrt(table.shape[0]), math.isqrt(size)
    cells, tokens = table[: before**2], table[before**2 :]
    grid = cells.float().T.reshape(1, -1, before, before)
    grid = F.interpolate(grid, (after, after), mode='bicubic', align_corners=False)
    cells = grid.reshape(-1, after**2).T.to(table.dtype)
    return torch.cat([cells, tokens])


def resize_patches(weight: Tensor, size: Grid) -> Tensor:
    """Resize a patch projection so that it gives resized patches the same embedding.

    For larger patches the embedding of a bilinearly resized patch is exactly that of
    the patch; for smaller ones it is the nearest in the least squares (FlexiViT,
    arXiv 2212.08013, eq. 4).

    Args:
        weight (Tensor): Of shape (C, 3, h, w).
        size (tuple[int, int]): Height and width to resize to.

    Returns:
        Tensor: Of shape (C, 3, *size).
    """
    height, width = weight.shape[-2:]
    pixels = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    resized = F.interpolate(pixels, size, mode='bilinear', align_corners=False)
    # Row i: what pixel i of a patch becomes. Embeddings are w @ x = new @ resize.T @ x.
    inverse = torch.linalg.pinv(resized.flatten(1))
    new = weight.flatten(2).double() @ inverse.T
    return new.unflatten(2, size).to(weight.dtype)


def is_computed(name: str) -> bool:
    """Whether a weight is a buffer that the network computes for its own size."""
    return name.endswith(
        (
            'relative_position_index',
            'relative_coords_table',
            'attn_mask',
            'freqs_cos',
            'freqs_sin',
        )
    )


def _adapt_positions(
    state: State, wanted: State, source: Grid | None, target: Grid | None, done: list
) -> State:
    positions, goal = state['pos_embed'], wanted['pos_embed']
    if positions.ndim == 4:  # PiT's are a map
        if positions.shape != goal.shape:
            size = goal.shape[-2:]
            state['pos_embed'] = F.interpolate(positions, size, mode='bicubic')
            done.append(f'positions resized from {_by(positions)} to {_by(goal)}')
        return state
    target = target or _square(goal.shape[1], _tokens(wanted)) or (goal.shape[1], 1)
    source, extra = _source_grid(positions.shape[1], _tokens(state), source)
    positions = resize_pos_embed(positions, source, target, 'bicubic', extra)
    if source != target:
        done.append(f'positions resized from {_by(source)} to {_by(target)}')
    keep = goal.shape[1] - target[0] * target[1]  # positions of tokens in the network
    if extra and not keep and 'cls_token' in wanted:
        state = fold_class_position({**state, 'pos_embed': positions})
        done.append("the class token's position added to the token")
        return state
    if extra > keep:
        done.append(f'{extra - keep} token(s) dropped')
    elif keep > extra:
        done.append(f'{keep - extra} token(s) added, at a position of 0')
    zeros = positions.new_zeros(1, max(keep - extra, 0), positions.shape[2])
    tokens = torch.cat([positions[:, : min(extra, keep)], zeros], dim=1)
    state['pos_embed'] = torch.cat([tokens, positions[:, extra:]], dim=1)
    return state


def _source_grid(length: int, tokens: int, grid: Grid | None) -> tuple[Grid, int]:
    """Grid of positions and how many of them are tokens'."""
    if grid is not None:
        extra = length - grid[0] * grid[1]
        if extra not in (0, tokens):
            raise ValueError(
                f'A grid of {_by(grid)} patches has {grid[0] * grid[1]} positions, but '
                f'there are {length}, {tokens} of them of tokens.'
            )
        return grid, extra
    for extra in (tokens, 0):
        square = _square(length, extra)
        if square is not None:
            return square, extra
    raise ValueError(
        f'{length} positions, {tokens} of them of tokens, are of no square grid of '
        'patches. Say which grid, height and width: --cfg-options '
        "carry_over.grid='(32,64)'."
    )


def _square(length: int, extra: int) -> Grid | None:
    side = math.isqrt(max(length - extra, 0))
    return (side, side) if side and side * side == length - extra else None


def _tokens(state: State) -> int:
    return sum(token in state for token in _TOKENS)


def _is_scale(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in _SCALES)


def _has_scales(state: State) -> bool:
    return any(map(_is_scale, state))


def _by(size: Tensor | Grid) -> str:
    height, width = size.shape[-2:] if isinstance(size, Tensor) else size
    return f'{height}x{width}'
