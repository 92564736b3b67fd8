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

    ``shift`` is the cyclic shift up and left, below the windows' side ``size``.
    """
    # Not inference tensors, as the result is cached and backward may save it.
    with torch.inference_mode(False), torch.no_grad():
        rows, columns, length = -(-height // size), -(-width // size), height * width
        index = torch.full((rows * size, columns * size), length)
        index[:height, :width] = torch.arange(length).view(height, width)
        index = index.roll((-shift, -shift), dims=(0, 1))
        tokens = index.view(rows, size, columns, size).transpose(1, 2)
        tokens = tokens.reshape(rows * columns, size * size)
        places = tokens.flatten().argsort()[:length]
        # Inner windows, the last column, the last row, and both. In the last ones, the
        # last `shift` tokens come from the opposite side.
        last_row, last_column = (torch.arange(n) == n - 1 for n in (rows, columns))
        kinds = (2 * last_row[:, None] + last_column.long()).flatten()
        brought = torch.arange(size) >= size - shift
        parts = torch.stack(
            [
                (2 * (brought & y)[:, None] + (brought & x).long()).flatten()
                for y in (False, True)
                for x in (False, True)
            ]
        )
        masks = (parts[:, :, None] != parts[:, None]) * _APART
        if not shift:
            kinds, masks = torch.zeros_like(kinds), masks[:1]
        return WindowLayout(
            tokens.to(device),
            places.to(device),
            kinds.to(device),
            masks.to(device),
            padded=tokens.numel() > length,
        )
