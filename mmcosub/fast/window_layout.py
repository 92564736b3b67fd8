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
    """Windows over one image's feature map.

    Args:
        tokens (Tensor): Token at each position of each window, of shape (n, N); L in
            padding.
        places (Tensor): Inverse: index of each token in the flattened ``tokens``, of
            shape (L,).
        kinds (Tensor): Mask index of each window, of shape (n,).
        masks (Tensor): Masks to add to the logits, of shape (K, N, N).
        padded (bool): True if there is padding.
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
    """Return the windows of a map that is padded to whole windows and shifted.

    Args:
        height (int): Height h of the map.
        width (int): Width w of the map.
        size (int): Side of a window, the square root of N.
        shift (int): Cyclic shift of the map, up and to the left, below ``size``.
        device (str): Device of the tensors.

    Returns:
        WindowLayout: Windows in upstream's order, row by row.
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
