"""Resizing of weights: bicubic, or so that the outputs stay equal.

Shapes: ``C`` channels, ``H`` heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .weights import State

Grid = tuple[int, int]


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

    ``state`` is changed in place. ``wanted`` has the network's own weights, with the
    same names and in order; ``done`` receives a description of the change.
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


def by(size: Tensor | Grid) -> str:
    """Format a size, or that of a map, as height x width."""
    height, width = size.shape[-2:] if isinstance(size, Tensor) else size
    return f'{height}x{width}'
