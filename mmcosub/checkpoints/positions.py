"""Position embeddings, in mmpretrain's names: their grid, and resizing to another."""

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor

from .weights import State

Grid = tuple[int, int]
"""Height and width in patches."""
_TOKENS = ('cls_token', 'dist_token')


def position_per_token(state: State) -> State:
    """Give tokens of DeiT III or timm the zero positions that they lack."""
    positions, tokens = state.get('pos_embed'), count_tokens(state)
    if positions is None or not tokens or positions.ndim != 3:
        return state
    if not _square(positions.shape[1]):
        return state
    zeros = positions.new_zeros(1, tokens, positions.shape[2])
    return {**state, 'pos_embed': torch.cat([zeros, positions], dim=1)}


def adapt_positions(
    state: State, wanted: State, source: Grid | None, target: Grid | None, done: list
) -> State:
    """Resize positions, and add or remove those of tokens; outputs stay equal.

    ``source`` is the grid (height, width) of the positions in ``state``; if unknown,
    the network's if it has as many, else a square. ``done`` receives a description of
    each change.
    """
    positions, goal = state['pos_embed'], wanted['pos_embed']
    if positions.ndim == goal.ndim == 4:  # a map, as in PiT
        resized = F.interpolate(positions, tuple(goal.shape[2:]), mode='bicubic')
        done.append(f'positions resized from {by(positions)} to {by(resized)}')
        return {**state, 'pos_embed': resized}
    length, tokens = goal.shape[1], count_tokens(state)
    target = target or _square(length - count_tokens(wanted)) or _square(length)
    if target is None and positions.shape == goal.shape:
        return state
    source, extra = _source_grid(positions, tokens, source, target, done)
    if target is None:
        raise ValueError(
            f'positions of {by(source)} patches cannot be resized: the grid of the '
            f"backbone's {length} positions is not known."
        )
    positions = resize_pos_embed(positions, source, target, 'bicubic', extra)
    if source != target:
        done.append(f'positions resized from {by(source)} to {by(target)}')
    keep = length - target[0] * target[1]  # positions of tokens in the network
    if extra != keep:
        for i, token in enumerate(t for t in _TOKENS if extra and t in state):
            state[token] = state[token] + positions[:, i : i + 1]
        zeros = positions.new_zeros(1, keep, positions.shape[2])
        positions = torch.cat([zeros, positions[:, extra:]], dim=1)
        change = f'{abs(extra - keep)} token(s) dropped'
        if extra < keep:
            change = f'{keep - extra} token(s) added, at a position of 0'
        elif not keep and 'cls_token' in wanted:
            change = "the class token's position added to the token"
        done.append(change)
    return {**state, 'pos_embed': positions}


def _source_grid(
    positions: Tensor, tokens: int, grid: Grid | None, target: Grid | None, done: list
) -> tuple[Grid, int]:
    """Return the grid of positions and the number of token positions."""
    length = positions.shape[1]

    def fitting(*grids: Grid | None) -> tuple[Grid, int] | None:
        for each, extra in zip(grids, (tokens, 0), strict=True):
            if each and each[0] * each[1] == length - extra:
                return each, extra
        return None

    if grid is not None:
        if given := fitting(grid, grid):
            return given
        raise ValueError(
            f'A grid of {by(grid)} patches has {grid[0] * grid[1]} positions, but '
            f'there are {length}, {tokens} of them of tokens.'
        )
    same = fitting(target, target)
    square = fitting(_square(length - tokens), _square(length))
    if same and square and _steps(positions, square) < 0.75 * _steps(positions, same):
        return square  # it is smoother
    if same and same != square:
        done.append(
            f'positions copied, as there are as many as {by(same[0])} patches have in '
            'the backbone (carry_over.grid gives another grid)'
        )
    if known := same or square:
        return known
    raise ValueError(
        f'{length} positions, {tokens} of them of tokens, are of no square grid of '
        'patches, nor as many as the backbone has. Give the height and width of the '
        "checkpoint's grid: --cfg-options carry_over.grid='(32,64)'."
    )


def _steps(positions: Tensor, grid: tuple[Grid, int]) -> float:
    """Mean squared difference of adjacent rows: smallest for the training grid."""
    rows = positions[0, grid[1] :].unflatten(0, grid[0])
    return rows.diff(dim=0).square().mean().item()


def _square(length: int) -> Grid | None:
    side = math.isqrt(max(length, 0))
    return (side, side) if side and side**2 == length else None


def count_tokens(state: State) -> int:
    """Return the number of extra tokens that may have a position."""
    return sum(token in state for token in _TOKENS)


def inner_network(backbone: Any) -> Any:
    """Return the network inside wrappers of mmpretrain and timm."""
    inner = getattr(backbone, 'timm_model', backbone)
    return getattr(inner, 'model', inner)


def grid_of(backbone: Any) -> Grid | None:
    """Return the grid (height, width) of a backbone's position embedding."""
    inner = inner_network(backbone)
    grid = getattr(inner, 'patch_resolution', None)
    grid = grid or getattr(getattr(inner, 'patch_embed', None), 'grid_size', None)
    size, patch = (getattr(inner, f'{each}_size', None) for each in ('img', 'patch'))
    if grid is None and isinstance(size, tuple | list) and isinstance(patch, int):
        grid = size[0] // patch, size[1] // patch
    return (int(grid[0]), int(grid[1])) if grid else None


def grid_of_checkpoint(checkpoint: dict, weights: State) -> Grid | None:
    """Return the training grid that a checkpoint records, if any.

    MMEngine stores the config as text; timm stores its script's arguments. The weights
    tell the patch size.
    """
    meta, args = checkpoint.get('meta'), checkpoint.get('args')
    size: Any = getattr(args, 'input_size', None) or getattr(args, 'img_size', None)
    cfg = meta.get('cfg') if isinstance(meta, dict) else None
    found = re.search(r'img_size=\(?(\d+)(?:, *(\d+))?', str(cfg))
    if found:
        size = int(found[1]), int(found[2] or found[1])
    height, width = (size, size) if isinstance(size, int) else (size or (0, 0))[-2:]
    projections = [v for k, v in weights.items() if 'patch_embed' in k and v.ndim == 4]
    patch = projections[0].shape[-1] if projections else 16
    if height % patch or width % patch:  # depends on the padding
        return None
    grid = height // patch, width // patch
    # Positions may have been kept while only images were resized.
    counts = {v.shape[1] for k, v in weights.items() if 'pos' in k and v.ndim == 3}
    fits = any(count - grid[0] * grid[1] in (0, 1, 2) for count in counts)
    return grid if height and (fits or not counts) else None


def by(size: Tensor | Grid) -> str:
    """Format a size, or that of a map, as height x width."""
    height, width = size.shape[-2:] if isinstance(size, Tensor) else size
    return f'{height}x{width}'
