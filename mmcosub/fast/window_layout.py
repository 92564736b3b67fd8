"""Layout of Swin's windows: indices of their tokens, and attention masks.

Shapes: ``h, w`` of the map, ``L = h * w`` tokens, ``n`` windows per image, ``N`` tokens
per window, ``K`` masks.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

# Upstream's mask between tokens that are neighbours only by the cyclic shift. It is not
# minus infinity, so with large logits they attend to one another.
_APART = -100.0


@dataclass(frozen=True)
class WindowLayout:
    """Windows over one image's feature map."""

    tokens: Tensor  # at each position of each window, (n, N); L in padding
    places: Tensor  # inverse: index of each token in the flattened `tokens`, (L,)
    kinds: Tensor  # mask index of each window, (n,)
    masks: Tensor  # to add to the logits, (K, N, N)
    padded: bool


@functools.lru_cache(maxsize=32)
def window_layout(
    height: int, width: int, size: int, shift: int, device: str
) -> WindowLayout:
    """Return the windows of a map padded to whole windows and shifted, row by row.

    A window has ``size`` pixels a side; ``shift``, below it, is the cyclic shift of the
    map, up and to the left.
    """
    # Not inference tensors, as the result is cached and backward may save it.
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
    """Return shifted coordinates along one axis, of shape (count, size)."""
    return ((torch.arange(count * size) + shift) % (count * size)).view(count, size)


def _masks(size: int, shift: int) -> Tensor:
    """Return the masks of inner windows, the last column, the last row, and both.

    In the last ones, the last ``shift`` tokens come from the opposite side.
    """
    brought = torch.arange(size) >= size - shift
    whole = torch.zeros(size, dtype=torch.bool)
    masks = []
    for y in (whole, brought):
        for x in (whole, brought):
            part = (2 * y[:, None] + x[None, :].long()).flatten()
            masks.append((part[:, None] != part[None, :]) * _APART)
    return torch.stack(masks)
