"""Matrices for bilinear resizing as a product along each axis."""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def interpolation_matrix(source: int, target: int, align_corners: bool) -> Tensor:
    """Return the float64 matrix, (target, source), that resizes a line of pixels."""
    unit = torch.eye(source, dtype=torch.float64, device='cpu')[None]
    lines = F.interpolate(unit, size=target, mode='linear', align_corners=align_corners)
    return lines[0].T.contiguous()


@lru_cache(maxsize=256)  # called once per chunk; on the device, so no forward waits
@torch.inference_mode(False)
def shifted_matrices(
    source: int,
    target: int,
    count: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return an odd number of matrices side by side, shifted by ..., -1, 0, 1, ...

    Of the one shifted by s, pixel i of the result is pixel i + s of the resized line,
    or 0 outside. The result is cached: do not change it.
    """
    reach = count // 2
    matrix = interpolation_matrix(source, target, align_corners)
    padded = F.pad(matrix, (0, 0, reach, reach))
    shifted = [padded[i : i + target] for i in range(count)]
    return torch.cat(shifted, dim=1).to(device, dtype)


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
    matrix = interpolation_matrix(source, target, align_corners)
    blocks = []
    for start in range(0, target, length):
        rows = matrix[start : start + length]
        used = rows.any(dim=0).nonzero().flatten().tolist()
        first, last = used[0], used[-1] + 1
        part = rows[:, first:last].contiguous().to(device, dtype)
        target_pixels = slice(start, start + len(rows))
        blocks.append(Block(target_pixels, slice(first, last), part))
    return tuple(blocks)
