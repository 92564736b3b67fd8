"""Rows of a batch in which some images have one view only.

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
        self.paired, self.computed = plan.paired, plan.computed
        if self.paired is None:
            return
        index = np.tile(np.arange(plan.batch), plan.views)
        index[self.computed] = np.arange(len(self.computed))
        self._index = to_device(index, device)
        self._pairs = to_device(np.flatnonzero(self.paired), device)

    def spread(self, outputs: Any) -> Any:
        """Return outputs of R rows with one row for each view and image.

        Tensors with another number of rows are of no image, and stay.
        """
        if self.paired is None:
            return outputs

        def spread(x: Any) -> Any:
            fits = isinstance(x, Tensor) and x.ndim > 0 and len(x) == len(self.computed)
            return x.index_select(0, self._index) if fits else x

        return tree_map(spread, outputs)

    def samples(self, data_samples: Sequence[Any], views: int) -> list[Any]:
        """Return the label of each computed row, from the labels of the B images."""
        samples = list(data_samples) * views
        return samples if self.paired is None else [samples[i] for i in self.computed]

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
