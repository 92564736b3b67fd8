"""Computed rows of a batch in which some images have one view only.

Shapes: ``V`` views, ``B`` images, ``R`` computed rows, ``*`` positions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mmcosub.submodels import Plan
from mmcosub.submodels.plan import to_device


class PairedRows:
    """Rows that backbone and heads run on, where a plan's ``paired`` names images.

    They are the first view's, and the others' of the paired images. Where the plan
    names none, every method returns what it is given.
    """

    def __init__(self, plan: Plan, device: torch.device | str) -> None:
        self.device = device
        self.paired, self.computed = plan.paired, plan.computed
        if self.paired is None or self.computed is None:
            return
        index = np.tile(np.arange(plan.batch), plan.views)
        index[self.computed] = np.arange(len(self.computed))
        self._index = to_device(index, device)
        self._pairs = to_device(np.flatnonzero(self.paired), device)

    def inputs(self, images: Tensor, plan: Plan, shared: bool) -> tuple[Tensor, Plan]:
        """Return the images and the plan to run.

        If views share rows while they are equal, all, as an image with one view costs
        one row. Otherwise, the computed rows as images of one view.
        """
        if self.computed is None or shared:
            return images, plan
        rows = to_device(self.computed % plan.batch, self.device)
        factors = plan.multipliers.reshape(len(plan.multipliers), 1, -1)
        return images.index_select(0, rows), Plan(factors[:, :, self.computed])

    def outputs(self, outputs: Any, work: float, shared: bool) -> tuple[Any, float]:
        """Return outputs with R rows, and the fraction of branch evaluations run."""
        if self.computed is None:
            return outputs, work
        if not shared:
            return outputs, work * len(self.computed) / len(self._index)
        rows = to_device(self.computed, self.device)
        return _select(outputs, rows, len(self._index)), work

    def spread(self, outputs: Any) -> Any:
        """Return outputs of R rows with one row for each view and image."""
        if self.computed is None:
            return outputs
        return _select(outputs, self._index, len(self.computed))

    def samples(self, data_samples: Sequence[Any], views: int) -> list[Any]:
        """Return the label of each computed row, from the labels of the B images."""
        samples = list(data_samples) * views
        return samples if self.computed is None else [samples[i] for i in self.computed]

    def pairs(self, x: Any) -> Any:
        """Return the rows of the paired images, of a tensor (B, *) or None."""
        return x if x is None or self.paired is None else x.index_select(0, self._pairs)

    def fraction(self, weight: Tensor | None) -> float | Tensor:
        """Return the fraction that the paired images have of the weight (B, *)."""
        if self.paired is None:
            return 1.0
        if weight is None:
            return float(self.paired.mean())
        tiny = torch.finfo(weight.dtype).tiny
        return self.pairs(weight).sum() / weight.sum().clamp_min(tiny)


def _select(outputs: Any, index: Tensor, rows: int) -> Any:
    """Rows of all tensors that have so many; others are of no image."""

    def select(x: Any) -> Any:
        fits = isinstance(x, Tensor) and x.ndim > 0 and len(x) == rows
        return x.index_select(0, index) if fits else x

    return tree_map(select, outputs)
