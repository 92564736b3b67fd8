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
    """Return the matrix, (target, source), that resizes a line of pixels.

    Pixel i of the result is pixel i + shift of the resized line, or 0 outside. The
    matrix is cached: do not change it.
    """
    unit = torch.eye(source, dtype=torch.float64, device='cpu')[None]
    lines = F.interpolate(unit, size=target, mode='linear', align_corners=align_corners)
    matrix = F.pad(lines[0].T, (0, 0, abs(shift), abs(shift)))
    first = abs(shift) + shift
    return matrix[first : first + target].contiguous().to(device, dtype)


@lru_cache(maxsize=256)  # called once per chunk
@torch.inference_mode(False)
@torch.no_grad()
def shifted_matrices(
    source: int,
    target: int,
    count: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return matrices shifted by -1, 0 and 1, or by 0, side by side."""
    shifts = range(-(count // 2), count // 2 + 1)
    which = (source, target, align_corners, dtype, device)
    return torch.cat([interpolation_matrix(*which, s) for s in shifts], dim=1)


class Block(NamedTuple):
    """Pixels ``target`` of a resized line, of the pixels ``source``."""

    target: slice
    source: slice
    matrix: Tensor  # a row for each pixel of the target


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
        target_pixels = slice(start, start + len(rows))
        blocks.append(Block(target_pixels, slice(first, last), part))
    return tuple(blocks)
