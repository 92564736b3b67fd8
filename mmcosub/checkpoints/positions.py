"""Resizing of position embeddings, in mmpretrain's names, to another grid.

Shapes: ``N`` patches, ``C`` channels.
"""

import math

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor

from .reading import State
from .resizing import Grid, by

_TOKENS = ('cls_token', 'dist_token')


def position_per_token(state: State) -> State:
    """Give the class token of a DeiT III or timm network a zero position.

    These networks may have positions of patches only; a zero position changes nothing.
    """
    positions = state.get('pos_embed')
    if positions is None or 'cls_token' not in state or positions.ndim != 3:
        return state
    if math.isqrt(positions.shape[1]) ** 2 != positions.shape[1]:
        return state
    zero = positions.new_zeros(1, count_tokens(state), positions.shape[2])
    return {**state, 'pos_embed': torch.cat([zero, positions], dim=1)}


def without_padding(state: State, grid: Grid | None) -> State:
    """Undo :func:`position_per_token` if the grid shows it to be wrong.

    3x5 patches and a token have 16 positions, as have 4x4 patches.
    """
    positions, count = state.get('pos_embed'), count_tokens(state)
    if positions is None or positions.ndim != 3 or not grid or not count:
        return state
    padded = positions.shape[1] == grid[0] * grid[1] + 2 * count
    if not padded or torch.any(positions[:, :count]):
        return state
    return {**state, 'pos_embed': positions[:, count:]}


def fold_class_position(state: State) -> State:
    """Add the positions of tokens to the tokens themselves."""
    positions, count = state.get('pos_embed'), count_tokens(state)
    if positions is None or not count:
        return state
    state = {**state, 'pos_embed': positions[:, count:]}
    for i, token in enumerate(t for t in _TOKENS if t in state):
        state[token] = state[token] + positions[:, i : i + 1]
    return state


def adapt_positions(
    state: State, wanted: State, source: Grid | None, target: Grid | None, done: list
) -> State:
    """Resize positions, and add or remove those of tokens.

    Args:
        state (dict[str, Tensor]): Weights with positions, in mmpretrain's names.
        wanted (dict[str, Tensor]): The network's own, for their shapes.
        source (tuple[int, int], optional): Grid of patches (height, width) of the
            positions in ``state``. None if unknown: the network's if it has as many,
            else a square.
        target (tuple[int, int], optional): Grid of the network.
        done (list[str]): Receives a description of each change.

    Raises:
        ValueError: If positions must be resized and their grid is unknown.
    """
    positions, goal = state['pos_embed'], wanted['pos_embed']
    if positions.ndim == 4:  # PiT's are a map
        if positions.shape != goal.shape:
            size = goal.shape[-2:]
            state['pos_embed'] = F.interpolate(positions, size, mode='bicubic')
            done.append(f'positions resized from {by(positions)} to {by(goal)}')
        return state
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
    if extra and not keep and 'cls_token' in wanted:
        state = fold_class_position({**state, 'pos_embed': positions})
        done.append("the class token's position added to the token")
        return state
    if extra > keep:
        done.append(f'{extra - keep} token(s) dropped')
    elif keep > extra:
        done.append(f'{keep - extra} token(s) added, at a position of 0')
    zeros = positions.new_zeros(1, max(keep - extra, 0), positions.shape[2])
    tokens_first = torch.cat([positions[:, : min(extra, keep)], zeros], dim=1)
    state['pos_embed'] = torch.cat([tokens_first, positions[:, extra:]], dim=1)
    return state


def _source_grid(
    positions: Tensor, tokens: int, grid: Grid | None, target: Grid | None, done: list
) -> tuple[Grid, int]:
    """Return the grid of positions and the number of token positions."""
    length = positions.shape[1]
    if grid is not None:
        extra = length - grid[0] * grid[1]
        if extra not in (0, tokens):
            raise ValueError(
                f'A grid of {by(grid)} patches has {grid[0] * grid[1]} positions, but '
                f'there are {length}, {tokens} of them of tokens.'
            )
        return grid, extra
    patches = [(length - number, number) for number in (tokens, 0)]
    same = [(target, n) for p, n in patches if target and p == target[0] * target[1]]
    square = [(side, n) for p, n in patches if (side := _square(p))]
    if same and square:
        steps = [_steps(positions, each) for each in (square[0], same[0])]
        if steps[0] < 0.75 * steps[1]:
            same = []  # a square grid is smoother
    if same and same[0] not in square:
        done.append(
            f'positions copied, as there are as many as {by(same[0][0])} patches have '
            'in the backbone (carry_over.grid gives another grid)'
        )
    for known, number in same + square:
        return known, number
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
