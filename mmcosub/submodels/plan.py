"""Plan of one iteration: its submodels, and the rows to compute for them.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``R`` rows: ``V * B``, but one for
all views of a sample that has the same submodel in each.

A *row* is one entry of the batch that the backbone runs on. As long as the views of a
sample keep the same branches, their activations are equal, and they share one row. The
row splits at the first branch that one view keeps and another drops.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Index = NDArray[np.int64]
_Factors = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """Submodels of all views of one iteration.

    Args:
        multipliers (ndarray): Factor of every branch, of shape (L, V, B): 0 where the
            branch is dropped, usually ``1 / (1 - rate)`` elsewhere.
        paired (ndarray, optional): True for each sample whose views are computed one by
            one, of shape (B, ). The others have the same submodel in every view, which
            is computed once. Defaults to None, all samples.
    """

    multipliers: _Factors
    paired: NDArray[np.bool_] | None = None

    @property
    def views(self) -> int:
        """Number of views V."""
        return self.multipliers.shape[1]

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return self.multipliers.shape[2]

    def of(self, views: list[int]) -> 'Plan':
        """Return the plan of some of the views."""
        return Plan(self.multipliers[:, views], self.paired)

    @property
    def computed(self) -> _Index:
        """View and sample of each row, as ``view * B + sample``, of shape (R, )."""
        first = np.arange(self.views)[:, None] == 0
        paired = np.True_ if self.paired is None else self.paired
        return np.flatnonzero(np.broadcast_to(first | paired, (self.views, self.batch)))

    @property
    def factors(self) -> _Factors:
        """Factor of every branch of each row, of shape (L, R)."""
        branches = len(self.multipliers)
        return self.multipliers.reshape(branches, -1)[:, self.computed]

    @classmethod
    def from_keep(cls, keep: NDArray[np.bool_], rates: _Factors) -> 'Plan':
        """Return the plan of ordinary DropPath: kept branches times 1 / (1 - rate).

        ``keep`` has shape (L, V, B), the rates in [0, 1) (L, ) or, by view, (L, V).
        """
        return cls(keep / (1 - rates).reshape(len(rates), -1, 1))


@dataclass
class Step:
    """Instructions for one branch."""

    rows: int  # of the input
    split: Tensor | None
    """Indices of rows to append to the batch before the branch, if any."""
    kept: Tensor | None
    """Indices of rows that keep the branch, after the split; None if all do."""
    scale: float | Tensor
    """Factor of the branch: one number, or one per kept row."""

    @property
    def rows_after(self) -> int:
        """Number of output rows."""
        return self.rows + (0 if self.split is None else len(self.split))


@dataclass
class RowPlan:
    """A plan as instructions for the rows, with a step for each branch."""

    steps: list[Step]
    rows_of_views: dict[int, Tensor | None]
    """For each number of shared rows, which of them each row of the plan is, (R, );
    None for all in order. Rows are only added, so their number identifies the place in
    the backbone."""
    work: float
    """Fraction of the ``L * V * B`` branch evaluations computed."""


def plan_rows(plan: Plan, share: bool, device: torch.device | str = 'cpu') -> RowPlan:
    """Turn a plan into instructions for the rows, which equal views share if ``share``.

    Indices are moved to the device in one transfer, factors that differ in another.
    """
    factors_of_rows = plan.factors
    row_of = plan.computed % plan.batch if share else np.arange(len(plan.computed))
    rows = plan.batch if share else len(row_of)
    row_of_views = {rows: row_of}
    draft: list[tuple[int, _Index | None, _Index | None, float | _Factors]] = []
    computed = 0
    for factor in factors_of_rows:
        row_of, row_factor, parents = _split(row_of, factor, rows)
        before, split = rows, parents if len(parents) else None
        rows += len(parents)
        row_of_views[rows] = row_of
        kept = np.flatnonzero(row_factor)
        computed += len(kept)
        factors = row_factor[kept]
        differ = (factors != factors[:1]).any()
        scale = factors if differ else float(factors[:1].sum())
        draft.append((before, split, kept if len(kept) < rows else None, scale))

    rows_of_views = [
        None if np.array_equal(row, np.arange(n)) else row
        for n, row in row_of_views.items()
    ]
    arrays = [a for _, split, kept, _ in draft for a in (split, kept)]
    indices = _moved([*arrays, *rows_of_views], device)
    scales = _moved([s for *_, s in draft if not isinstance(s, float)], device)
    steps = [
        Step(
            before,
            next(indices),
            next(indices),
            scale if isinstance(scale, float) else next(scales),
        )
        for before, _, _, scale in draft
    ]
    work = computed / max(plan.multipliers.size, 1)
    return RowPlan(steps, dict(zip(row_of_views, indices, strict=True)), work)


def _split(
    row_of: _Index, factor: _Factors, rows: int
) -> tuple[_Index, _Factors, _Index]:
    """Split rows until all views of a row have the same factor.

    The views with a row's largest factor stay in it, the others move to new rows at the
    end. Of each row of the plan, ``row_of`` is the shared row. Returns the new
    ``row_of``, the factor of each row, and the source of each new row.
    """
    source = np.arange(rows)
    while True:
        row_factor = np.full(len(source), -np.inf)
        np.maximum.at(row_factor, row_of, factor)
        leaves = factor != row_factor[row_of]
        if not leaves.any():
            return row_of, row_factor, source[rows:]
        parents = np.unique(row_of[leaves])
        child = np.zeros(len(source), dtype=np.int64)
        child[parents] = len(source) + np.arange(len(parents))
        row_of = np.where(leaves, child[row_of], row_of)
        source = np.concatenate([source, source[parents]])


def _moved(
    arrays: Sequence[NDArray | None], device: torch.device | str
) -> Iterator[Any]:
    """Move arrays to a device, all in one transfer; None stays."""
    given = [array for array in arrays if array is not None]
    parts: Iterator[Any] = iter(())
    if given:
        moved = to_device(np.concatenate(given), device)
        parts = iter(moved.split([len(array) for array in given]))
    return (None if array is None else next(parts) for array in arrays)


def to_device(
    array: NDArray, device: torch.device | str, dtype: torch.dtype | None = None
) -> Tensor:
    """Move an array to a device without waiting for it.

    By default, float64 becomes float32 on devices other than CPUs, as not all have it.
    """
    device = torch.device(device)
    tensor = torch.from_numpy(array)
    if dtype is None and tensor.dtype == torch.float64 and device.type != 'cpu':
        dtype = torch.float32
    tensor = tensor.to(dtype)
    if device.type == 'cuda':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
