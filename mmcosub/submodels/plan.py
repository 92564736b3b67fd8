"""One iteration's submodels, and the rows to compute for them.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``R`` rows.

A *row* is one entry of the batch that the backbone runs on. As long as the views of a
sample keep the same branches, they have the same activations, and one row stands for
all of them. At the first branch that one view keeps and another drops, the row splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """What the samplers drew for one iteration.

    Args:
        multipliers (ndarray): Factor of every branch, of shape (L, V, B). It is 0
            where the branch is dropped, and usually ``1 / (1 - rate)`` elsewhere.
        paired (ndarray, optional): True for each sample whose views are computed one by
            one, of shape (B, ). The others have the same submodel in every view, which
            is computed once. Defaults to None, all samples.
    """

    multipliers: NDArray[np.float64]
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
    def computed(self) -> NDArray[np.int64] | None:
        """View and sample (as ``view * B + sample``) of each computed row.

        None if all V * B are computed.
        """
        if self.paired is None:
            return None
        first = np.arange(self.views)[:, None] == 0
        return np.flatnonzero(first | self.paired)

    @classmethod
    def from_keep(cls, keep: NDArray[np.bool_], rates: NDArray[np.float64]) -> 'Plan':
        """Plan of ordinary drop path: a kept branch is scaled by 1 / (1 - rate).

        Args:
            keep (ndarray): Which branches are kept, of shape (L, V, B).
            rates (ndarray): Drop-path rates in [0, 1), of shape (L, ).
        """
        return cls(keep / (1 - rates)[:, None, None])


@dataclass
class Step:
    """What to do at one branch.

    Args:
        rows (int): Number of rows that come in.
        split (Tensor, optional): Rows to copy to the end of the batch before the
            branch. None if no row splits.
        kept (Tensor, optional): Rows that keep the branch, after the split. None if
            all do.
        scale (float | Tensor): Factor of the branch: one number, or one for each kept
            row.
    """

    rows: int
    split: Tensor | None
    kept: Tensor | None
    scale: float | Tensor

    @property
    def rows_after(self) -> int:
        """Number of rows that go out."""
        return self.rows + (0 if self.split is None else len(self.split))


@dataclass
class RowPlan:
    """A plan as instructions for the rows.

    Args:
        steps (list[Step]): What to do at each branch, of length L.
        rows_of_views (dict[int, Tensor | None]): By number of rows, the row of each
            view of each sample, of shape (V * B, ), views outermost; None if these are
            all rows in order. Rows are only ever added, so their number tells how far
            the backbone has come.
        work (float): Share of the ``L * V * B`` branch evaluations that is computed.
    """

    steps: list[Step]
    rows_of_views: dict[int, Tensor | None]
    work: float


def plan_rows(plan: Plan, share: bool, device: torch.device | str = 'cpu') -> RowPlan:
    """Turn a plan into instructions for the rows.

    All on the CPU. The indices go to the device in one transfer, and the factors, where
    they differ between the rows of a branch, in another.

    Args:
        plan (Plan): The plan.
        share (bool): Whether views share rows for as long as they are equal.
        device (torch.device | str): Where the indices go. Defaults to 'cpu'.
    """
    views, batch = plan.views, plan.batch
    rows = batch if share else views * batch
    row_of = np.arange(views * batch) % rows
    arrays = [row_of]  # every index array, to be moved together
    spread = {rows: 0}  # number of rows -> place in `arrays`
    draft: list[tuple[int, int | None, int | None, float | NDArray[np.float64]]] = []
    computed = 0
    for factor in plan.multipliers.reshape(-1, views * batch):
        row_of, row_factor, parents = _split(row_of, factor, rows)
        split, before = None, rows
        if len(parents):
            rows += len(parents)
            split, spread[rows] = len(arrays), len(arrays) + 1
            arrays += [parents, row_of]
        kept = np.flatnonzero(row_factor)
        computed += len(kept)
        factors = row_factor[kept]
        scale = _common(factors)
        if len(kept) == rows:
            draft.append((before, split, None, scale))
        else:
            draft.append((before, split, len(arrays), scale))
            arrays.append(kept)

    indices = _moved(arrays, device)
    scales = iter(_moved([s for *_, s in draft if not isinstance(s, float)], device))
    steps = [
        Step(
            before,
            None if split is None else indices[split],
            None if keep is None else indices[keep],
            scale if isinstance(scale, float) else next(scales),
        )
        for before, split, keep, scale in draft
    ]
    rows_of_views = {
        rows: None if np.array_equal(arrays[i], np.arange(rows)) else indices[i]
        for rows, i in spread.items()
    }
    return RowPlan(steps, rows_of_views, computed / max(plan.multipliers.size, 1))


def _split(
    row_of: NDArray[np.int64], factor: NDArray[np.float64], rows: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Split rows until all views of a row have the same factor.

    The views with a row's largest factor stay in it. So of two views, the one that
    keeps the branch stays. The others move to new rows at the end.

    Args:
        row_of (ndarray): Row of each view of each sample, of shape (V * B, ).
        factor (ndarray): Factor of each view of each sample, of shape (V * B, ).
        rows (int): Number of rows R before.

    Returns:
        tuple: The row of each view and the factor of each row after the split, and the
        row that each new one is a copy of.
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


def _common(factors: NDArray[np.float64]) -> float | NDArray[np.float64]:
    """The factor of all rows as a number, or their factors if they differ."""
    if not len(factors):
        return 0.0
    return float(factors[0]) if (factors == factors[0]).all() else factors


def _moved(arrays: list[NDArray], device: torch.device | str) -> Sequence[Tensor]:
    """Arrays on a device, all in one transfer."""
    if not arrays:
        return []
    moved = to_device(np.concatenate(arrays), device)
    return moved.split([len(array) for array in arrays])


def to_device(
    array: NDArray, device: torch.device | str, dtype: torch.dtype | None = None
) -> Tensor:
    """Move an array to a device without waiting for it.

    Args:
        array (ndarray): The array.
        device (torch.device | str): Where it goes.
        dtype (torch.dtype, optional): What it becomes before it goes, as not every
            device has float64. Defaults to None, float32 for a float64 array on any
            device but a CPU.
    """
    device = torch.device(device)
    tensor = torch.from_numpy(array)
    if dtype is None and tensor.dtype == torch.float64 and device.type != 'cpu':
        dtype = torch.float32
    tensor = tensor.to(dtype)
    if device.type == 'cuda':
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
