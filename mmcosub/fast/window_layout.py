"""Which tokens of a feature map meet in which window, as Swin lays windows out.

Shapes: ``h, w`` of the map, ``L = h * w`` tokens, ``n`` windows an image, ``N`` tokens
a window, ``K`` kinds of windows.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# What stock Swins add to keep tokens apart that only the shift brought together. Not
# minus infinity: with large enough logits they do see one another.
_APART = -100.0


@dataclass(frozen=True)
class WindowLayout:
    """Windows over one image's feature map.

    Args:
        tokens (Tensor): The token at each place of each window, of shape (n, N); L at
            places outside the map.
        places (Tensor): The inverse, a place in the flattened ``tokens`` for each
            token, of shape (L,).
        kinds (Tensor): Which mask each window has, of shape (n,).
        masks (Tensor): What to add to the logits of each kind, of shape (K, N, N).
        padded (bool): Whether any place is outside the map.
    """

    tokens: Tensor
    places: Tensor
    kinds: Tensor
    masks: Tensor
    padded: bool


@functools.lru_cache(maxsize=32)
def window_layout(
    height: int, width: int, size: int, shift: int, device: str
) -> WindowLayout:
    """Windows over a map that is padded to whole windows and shifted round.

    Args:
        height (int): h.
        width (int): w.
        size (int): Side of a window, so that N is its square.
        shift (int): By how much the map is rolled, up and to the left, below ``size``.
        device (str): Where the tensors are to be.

    Returns:
        Windows: In the stock order, row by row.
    """
    # The result outlives the mode it was asked for in, and backward may save it.
    with torch.inference_mode(False), torch.no_grad():
        rows, columns = -(-height // size), -(-width // size)
        y = _rolled(rows, size, shift)
        x = _rolled(columns, size, shift)
        inside = (y < height)[:, None, :, None] & (x < width)[None, :, None, :]
        tokens = y[:, None, :, None] * width + x[None, :, None, :]
        tokens = tokens.where(inside, height * width).flatten(2).flatten(0, 1)
        places = torch.empty(height * width + 1, dtype=torch.long)
        places[tokens.flatten()] = torch.arange(tokens.numel())
        last_row = (torch.arange(rows) == rows - 1).long()
        last_column = (torch.arange(columns) == columns - 1).long()
        kinds = (2 * last_row[:, None] + last_column).flatten()
        masks = _masks(size, shift)
        if not shift:
            kinds, masks = torch.zeros_like(kinds), masks[:1]
        return WindowLayout(
            tokens.to(device),
            places[:-1].to(device),
            kinds.to(device),
            masks.to(device),
            padded=not bool(inside.all()),
        )


def _rolled(count: int, size: int, shift: int) -> Tensor:
    """Coordinates along one axis, of shape (count, size)."""
    return ((torch.arange(count * size) + shift) % (count * size)).view(count, size)


def _masks(size: int, shift: int) -> Tensor:
    """Masks of windows elsewhere, in the last column, the last row, and in both.

    In these, what the roll brought round from the other side begins ``shift`` places
    before the end.
    """
    brought = torch.arange(size) >= size - shift
    whole = torch.zeros(size, dtype=torch.bool)
    masks = []
    for y in (whole, brought):
        for x in (whole, brought):
            part = (2 * y[:, None] + x[None, :].long()).flatten()
            masks.append((part[:, None] != part[None, :]) * _APART)
    return torch.stack(masks)
