"""Computation of one branch on the R rows of a batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .branches import Site
from .plan import Step
from .run import BranchCall, scaled


def plain_sum(factors: Tensor, x: Tensor, call: BranchCall) -> Any:
    """Run a branch on every row, times its factor among those of shape (L, R)."""
    _expect_rows(call.site, x, factors.shape[1])
    y = call.residual(x)
    return call.after(call.shortcut(x) + scaled(y, factors[call.number]))


class Rows:
    """Run every branch on the rows that keep it.

    A block's input may be a feature map too, so its rows are copied once, to a buffer
    with room for those that split. The block's branches add to the buffer in place.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self._room: Tensor | None = None
        """Buffer that starts with the block's sum so far, if nothing else holds it."""

    def __call__(self, x: Tensor, call: BranchCall) -> Any:
        step, branch = self.steps[call.number], call.site.branch
        _expect_rows(call.site, x, step.rows)
        room, self._room = None if call.number == call.first else self._room, None
        if step.kept is None:
            if step.split is not None:  # all views keep it, with different factors
                x = torch.cat([x, gather(x, step.split)])
            y, scale = _prepared(x, call.residual(x), step.scale)
            return call.after(torch.add(call.shortcut(x), y, alpha=scale))
        if len(step.kept) == 0:
            return call.after(_Skipped.apply(call.shortcut(x), *call.sources))
        in_place = branch.shortcut is None
        if room is None and (in_place or step.split is not None):
            room = _empty_rows(x, self.steps[call.last].rows_after)
            room[: len(x)] = x.detach()
        own = in_place and self._makes_gradient(call)
        x, kept = _Take.apply(x, room, step.split, step.kept, own)
        y, scale = _prepared(x, call.residual(kept), step.scale)
        if in_place and y.dtype == x.dtype:
            if call.number != call.last and branch.after is None:
                self._room = room
            return call.after(_Add.apply(x, step.kept, y, scale))
        x = call.shortcut(x).to(y.dtype).clone()
        return call.after(x.index_add_(0, step.kept, y, alpha=scale))

    def _makes_gradient(self, call: BranchCall) -> bool:
        """Return True if nothing else refers to the sum's incoming gradient.

        So it is if the block's next branch makes it; PyTorch may give both terms one.
        """
        if call.number == call.last or call.site.branch.after is not None:
            return False
        kept = self.steps[call.number + 1].kept
        return kept is not None and len(kept) > 0


def gather(x: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """Gather rows as ``index_select``, but keep the channels-last memory format."""
    if not _is_channels_last(x):
        return torch.index_select(x, 0, index, out=out)
    out = None if out is None else out.permute(0, 2, 3, 1)
    rows = torch.index_select(x.permute(0, 2, 3, 1), 0, index, out=out)
    return rows.permute(0, 3, 1, 2)


def _is_channels_last(x: Tensor) -> bool:
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _empty_rows(x: Tensor, rows: int) -> Tensor:
    """Allocate rows like those of ``x``."""
    layout = torch.channels_last if _is_channels_last(x) else torch.contiguous_format
    shape = (rows, *x.shape[1:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _prepared(x: Tensor, y: Tensor, scale: float | Tensor) -> tuple[Tensor, float]:
    """Return the term to add to ``x`` and its factor that is not applied yet."""
    dtype = torch.promote_types(x.dtype, y.dtype)  # they differ under autocast
    if isinstance(scale, Tensor) or dtype in (torch.float16, torch.bfloat16):
        y, scale = scaled(y, scale), 1.0
    return y.to(dtype), scale


def _expect_rows(site: Site, x: Tensor, rows: int) -> None:
    if len(x) != rows:
        raise ValueError(
            f'The block {site.name!r} ({type(site.block).__name__}) gets {len(x)} rows '
            f'where {rows} are expected, one for each view and image: what comes '
            'before it changes the batch dimension, so its submodels cannot be told '
            'apart. Register what holds it (mmcosub.submodels.register_block).'
        )


class _Take(torch.autograd.Function):
    """Return ``cat([x, x[split]])``, in the buffer ``room``, and its rows ``kept``.

    Backward scatters in place, instead of adding a full tensor of few rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        room: Tensor | None,
        split: Tensor | None,
        kept: Tensor,
        own: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(split, kept)
        ctx.own = own
        if room is None:
            return x.view_as(x), gather(x, kept)
        whole = room[: len(x) + (0 if split is None else len(split))]
        if split is not None:
            gather(room[: len(x)], split, out=whole[len(x) :])
        # Detached, as autograd forbids adding in place to a view made here.
        return whole.detach(), gather(whole, kept)

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor, grad_kept: Tensor
    ) -> tuple[Tensor, None, None, None, None]:
        split, kept = ctx.saved_tensors
        grad = _added(grad, kept, grad_kept, ctx.own)
        if split is not None:
            grad, split_off = grad.tensor_split([len(grad) - len(split)])
            grad = _added(grad, split, split_off, own=True)
        return grad, None, None, None, None


def _added(x: Tensor, index: Tensor, y: Tensor, own: bool) -> Tensor:
    """Add gradients to some rows of ``x``, in place if ``own``."""
    if torch.is_grad_enabled():  # create_graph=True
        own = False
    return (x if own else x.clone()).index_add_(0, index, y)


class _Add(torch.autograd.Function):
    """Add to some rows of a buffer that autograd does not treat as a view."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, y: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        ctx.mark_dirty(x)
        return x.index_add_(0, kept, y, alpha=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, None]:
        (kept,) = ctx.saved_tensors
        y = gather(grad, kept)
        if ctx.scale != 1:
            y = y * ctx.scale if torch.is_grad_enabled() else y.mul_(ctx.scale)
        return grad, None, y, None


class _Skipped(torch.autograd.Function):
    """Pass rows by a branch that none keeps; its parameters get gradients of 0.

    Without any, DDP would wait and optimizers would do something else.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        zeros = zip(ctx.saved_tensors, ctx.needs_input_grad[1:], strict=True)
        return grad, *[torch.zeros_like(p) if needed else None for p, needed in zeros]
