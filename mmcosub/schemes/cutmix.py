"""CutMix for label maps and other maps of the same images.

Shapes: ``U`` images, ``H, W`` any resolution.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class CutMix:
    """Boxes of half an image's area, pasted from another image of a batch.

    As in French et al. (arXiv 1906.01916), section 3.3, a box has half of the area, a
    log-uniform height and a uniform position. Its edges are rounded to a grid, so that
    images and coarser maps are cut at the same places.
    """

    boxes: NDArray[np.float64]
    """Top, bottom, left, right as fractions, of shape (U, 4)."""
    shift: int
    """Image i gets the box of image i - shift."""

    @classmethod
    def draw(
        cls, batch: int, grid: Sequence[int], rng: np.random.Generator
    ) -> 'CutMix':
        """Draw boxes for 2 or more images, on a grid of some height and width."""
        height = np.exp(rng.uniform(np.log(0.5), 0, batch))
        sizes = np.stack([height, 0.5 / height], axis=1)  # (U, 2)
        starts = rng.uniform(0, 1, (batch, 2)) * (1 - sizes)
        cells = np.array(grid)
        edges = np.rint(np.stack([starts, starts + sizes], axis=2) * cells[:, None])
        boxes = (edges / cells[:, None]).reshape(batch, 4)
        return cls(boxes, int(rng.integers(1, batch)))

    def __call__(self, maps: Tensor) -> Tensor:
        """Paste the boxes into maps of shape (U, ..., H, W)."""
        height, width = maps.shape[-2:]
        edges = np.rint(self.boxes * [height, height, width, width])
        top, bottom, left, right = (
            torch.from_numpy(edge).to(maps.device)[:, None] for edge in edges.T
        )
        y = torch.arange(height, device=maps.device)
        x = torch.arange(width, device=maps.device)
        rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
        inside = rows[:, :, None] & columns[:, None, :]  # (U, H, W)
        inside = inside.view(len(maps), *[1] * (maps.ndim - 3), height, width)
        return torch.where(inside, maps.roll(self.shift, dims=0), maps)
