"""Resizing weights bicubically, or so that they compute the same.

Shapes: ``C`` channels, ``H`` heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Grid = tuple[int, int]


def resize_table(table: Tensor, size: int) -> Tensor:
    """Resize a table of relative position biases, bicubically.

    Args:
        table (Tensor): Of shape ((2w - 1)^2, H) for a window of w x w; BEiT's has three
            entries more, those of the class token.
        size (int): The wanted first dimension.

    Returns:
        Tensor: Of shape (size, H).
    """
    before, after = math.isqrt(table.shape[0]), math.isqrt(size)
    cells, tokens = table[: before**2], table[before**2 :]
    grid = cells.float().T.reshape(1, -1, before, before)
    grid = F.interpolate(grid, (after, after), mode='bicubic', align_corners=False)
    cells = grid.reshape(-1, after**2).T.to(table.dtype)
    return torch.cat([cells, tokens])


def resize_patches(weight: Tensor, size: Grid) -> Tensor:
    """Resize a patch projection so that it gives resized patches the same embedding.

    For larger patches the embedding of a bilinearly resized patch is exactly that of
    the patch; for smaller ones it is the nearest in the least squares (FlexiViT,
    arXiv 2212.08013, eq. 4).

    Args:
        weight (Tensor): Of shape (C, 3, h, w).
        size (tuple[int, int]): Height and width to resize to.

    Returns:
        Tensor: Of shape (C, 3, *size).
    """
    height, width = weight.shape[-2:]
    pixels = torch.eye(height * width, dtype=torch.float64).view(-1, 1, height, width)
    resized = F.interpolate(pixels, size, mode='bilinear', align_corners=False)
    # Row i: what pixel i of a patch becomes. Embeddings are w @ x = new @ resize.T @ x.
    inverse = torch.linalg.pinv(resized.flatten(1))
    new = weight.flatten(2).double() @ inverse.T
    return new.unflatten(2, size).to(weight.dtype)


def by(size: Tensor | Grid) -> str:
    """Height and width, of a map or as they are, in words."""
    height, width = size.shape[-2:] if isinstance(size, Tensor) else size
    return f'{height}x{width}'
