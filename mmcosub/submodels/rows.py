"""Running one branch on the rows of a batch.

Shapes: ``R`` rows, ``K`` of them kept, ``...`` whatever the tensors have behind.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .branches import Site
from .plan import Step
from .run import BranchCall


class PlainRows:
    """Every branch on every row, times its factor.

    Args:
        factors (Tensor): Factor of every branch and row, of shape (L, R).
    """

    def __init__(self, factors: Tensor) -> None:
        self.factors = factors

    def __call__(self, x: Tensor, call: BranchCall) -> Tensor:
        """See :class:`~mmcosub.submodels.run.RunBranch`."""
        _expect_rows(call.site, x, self.factors.shape[1])
        y = call.residual(x)
        return call.after(call.shortcut(x) + scaled(y, self.factors[call.number]))


class Rows:
    """Every branch on the rows that keep it.

    Args:
        steps (Sequence[Step]): What to do at each branch, of length L.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps

    def __call__(self, x: Tensor, call: BranchCall) -> Tensor:
        """See :class:`~mmcosub.submodels.run.RunBranch`."""
        step = self.steps[call.number]
        _expect_rows(call.site, x, step.rows)
        if step.split is not None:
            x = torch.cat([x, x.index_select(0, step.split)])
        if step.kept is not None and len(step.kept) == 0:
            return call.after(_Skipped.apply(call.shortcut(x), *call.sources))
        kept = x
        if step.kept is not None:
            x, kept = _Take.apply(x, step.kept)
        y = call.residual(kept)
        x = call.shortcut(x)
        scale = step.scale
        if isinstance(scale, Tensor) or y.dtype in (torch.float16, torch.bfloat16):
            y, scale = scaled(y, scale), 1.0
        if step.kept is None:
            return call.after(torch.add(x, y, alpha=scale))
        dtype = torch.promote_types(x.dtype, y.dtype)  # they differ under autocast
        x = x.to(dtype).index_add(0, step.kept, y.to(dtype), alpha=scale)
        return call.after(x)


def _expect_rows(site: Site, x: Tensor, rows: int) -> None:
    if len(x) != rows:
        raise ValueError(
            f'The block {site.name!r} ({type(site.block).__name__}) gets {len(x)} rows '
            f'where {rows} are expected, one for each view and image: what comes '
            'before it changes the batch dimension, so its submodels cannot be told '
            'apart. docs/add_a_block.md shows how to register what holds it instead.'
        )


def scaled(y: Tensor, factor: float | Tensor) -> Tensor:
    """Rows times their factors, which are never rounded to half precision."""
    if isinstance(factor, Tensor):
        factor = factor.to(torch.promote_types(y.dtype, torch.float32))
        factor = factor.reshape(-1, *[1] * (y.ndim - 1))
    return (y * factor).to(y.dtype)


class _Take(torch.autograd.Function):
    """All rows, and some of them again.

    As ``x, x.index_select(0, kept)``, but backward adds the gradient of the few rows to
    that of all, rather than to zeros that are then added.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(kept)
        return x.view_as(x), x.index_select(0, kept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_kept: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return grad.index_add(0, kept, grad_kept), None


class _Skipped(torch.autograd.Function):
    """A branch that no row keeps: the rows pass, and its parameters' gradients are 0.

    Zero rather than none, as in the plain form: DDP waits for every gradient, and
    optimizers treat the two differently. (An empty batch would do in principle, but
    some stock blocks cannot reshape one.)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(*parameters)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        zeros = zip(ctx.saved_tensors, ctx.needs_input_grad[1:], strict=True)
        return grad, *[torch.zeros_like(p) if needed else None for p, needed in zeros]
