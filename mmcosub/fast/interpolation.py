"""Matrices for bilinear resizing as a product along each axis."""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


@lru_cache(maxsize=256)  # on the device, so that no forward waits for a copy
@torch.inference_mode(False)
@torch.no_grad()
def interpolation_matrix(
    source: int,
    target: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
    shift: int = 0,
) -> Tensor:
    """Return the matrix that resizes a line of ``source`` pixels to ``target``.

    Args:
        source (int): Number of input pixels, at least 1.
        target (int): Number of output pixels, at least 1.
        align_corners (bool): As in ``F.interpolate``.
        dtype (torch.dtype): Type of the matrix.
        device (torch.device): Device of the matrix.
        shift (int): Pixel i of the result is pixel i + shift of the resized line, or 0
            outside. Defaults to 0.

    Returns:
        Tensor: Of shape (target, source). Cached: do not change it.
    """
    unit = torch.eye(source, dtype=torch.float64, device='cpu')[None]
    lines = F.interpolate(unit, size=target, mode='linear', align_corners=align_corners)
    matrix = F.pad(lines[0].T, (0, 0, abs(shift), abs(shift)))
    first = abs(shift) + shift
    return matrix[first : first + target].contiguous().to(device, dtype)


class Block(NamedTuple):
    """Pixels [start, stop) of a resized line, and their sources [first, last)."""

    start: int
    stop: int
    first: int
    last: int
    matrix: Tensor
    """Of shape (stop - start, last - first)."""


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def interpolation_blocks(
    source: int,
    target: int,
    length: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Block, ...]:
    """Split :func:`interpolation_matrix` into blocks of at most ``length`` rows.

    A row has at most two entries that are not 0, so blocks omit columns of zeros.
    """
    matrix = interpolation_matrix(
        source, target, align_corners, torch.float64, torch.device('cpu')
    )
    blocks = []
    for start in range(0, target, length):
        rows = matrix[start : start + length]
        used = rows.any(dim=0).nonzero().flatten().tolist()
        first, last = used[0], used[-1] + 1
        part = rows[:, first:last].contiguous().to(device, dtype)
        blocks.append(Block(start, start + len(rows), first, last, part))
    return tuple(blocks)
