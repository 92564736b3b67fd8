"""Running a backbone as a plan's submodels.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``R`` rows, ``...`` whatever the
backbone's tensors have behind their rows.

Three executions of the same plan, equal in outputs and gradients:

- ``plain``: all views concatenated, every branch run on every row and multiplied by its
  factor, 0 included. The reference.
- ``kept_rows``: every branch run only on the rows that keep it.
- ``shared_prefix``: besides, views of a sample share a row until they first differ.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from .branches import Site, has_fixed_batch
from .plan import Plan, RowPlan, Step, plan_rows

EXECUTIONS = ('plain', 'kept_rows', 'shared_prefix')


def fastest_exact(backbone: nn.Module) -> str:
    """The fastest execution that computes what the plain one does.

    BatchNorm in training mode makes rows depend on one another: plain. Dropout would
    give views that share a row the same noise, and some networks cannot have their
    rows grow on the way: no sharing.

    Args:
        backbone (nn.Module): The backbone, in the mode in which it will run.
    """
    modules = list(backbone.modules())
    if any(isinstance(m, _BatchNorm) and m.training for m in modules):
        return 'plain'
    if any(m.training and _has_dropout(m) for m in modules):
        return 'kept_rows'
    if has_fixed_batch(backbone):
        return 'kept_rows'
    return 'shared_prefix'


def _has_dropout(module: nn.Module) -> bool:
    if isinstance(module, _DropoutNd):
        return module.p > 0
    # Attention modules hand a plain number to the fused kernel.
    rates = (getattr(module, name, 0.0) for name in ('attn_drop', 'dropout'))
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def run_submodels(
    backbone: nn.Module,
    images: Tensor,
    plan: Plan,
    sites: Sequence[Site],
    execution: str = 'shared_prefix',
    taps: Sequence[nn.Module] = (),
) -> tuple[Any, float]:
    """Run a backbone as every view's submodel of a plan.

    Args:
        backbone (nn.Module): The backbone; its own ``forward`` is what runs.
        images (Tensor): Of shape (B, ...).
        plan (Plan): Which view keeps which branch, for the same B.
        sites (Sequence[Site]): The backbone's branches, from ``find_branches``.
        execution (str): One of 'plain', 'kept_rows' and 'shared_prefix'. Defaults to
            'shared_prefix'.
        taps (Sequence[Module]): Blocks whose outputs are wanted, too. Defaults to none.

    Returns:
        tuple: The backbone's outputs with every tensor of shape (V * B, ...), views
        outermost, and the share of the ``L * V * B`` branch evaluations computed. With
        taps, the first is a pair: the backbone's outputs and a list of the blocks'.
    """
    if execution not in EXECUTIONS:
        raise ValueError(
            f'Unknown execution {execution!r}. Valid ones are {list(EXECUTIONS)}.'
        )
    if execution == 'plain':
        factors = torch.from_numpy(plan.multipliers).flatten(1).to(images.device)
        run = partial(_run_plain, factors=factors)
        with _tapped(taps) as tapped, _rerouted(sites, run):
            outputs = backbone(_repeat(images, plan.views))
        return (outputs, list(tapped)) if taps else outputs, 1.0

    share = execution == 'shared_prefix'
    if share and has_fixed_batch(backbone):
        raise ValueError(
            f'Views cannot share rows in {type(backbone).__name__}: it relies on as '
            "many rows coming out of its blocks as went in. Use 'kept_rows', or 'auto'."
        )
    rows = plan_rows(plan, share, images.device)
    run = partial(_run_rows, steps=rows.steps)
    with _tapped(taps) as tapped, _rerouted(sites, run):
        outputs = backbone(images if share else _repeat(images, plan.views))
    if taps:
        outputs = outputs, list(tapped)
    return tree_map(partial(_expand, rows=rows), outputs), rows.work


@contextmanager
def _tapped(taps: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """Collect what some modules put out, in the order in which they run."""
    outputs: list[Any] = []

    def collect(module: nn.Module, args: Any, output: Any) -> None:
        outputs.append(output)

    with ExitStack() as stack:
        for tap in taps:
            stack.callback(tap.register_forward_hook(collect).remove)
        yield outputs


def _repeat(images: Tensor, views: int) -> Tensor:
    return images.repeat(views, *[1] * (images.ndim - 1))


def _expand(output: Any, rows: RowPlan) -> Any:
    """One row a view and sample, from however many rows the output has."""
    if not isinstance(output, Tensor):
        return output
    index = rows.rows_of_views[output.shape[0]]
    return output if index is None else output.index_select(0, index)


@contextmanager
def _rerouted(
    sites: Sequence[Site], run: Callable[[Tensor, Site, int, tuple], Tensor]
) -> Iterator[None]:
    """Let every known block run its branches through ``run`` instead."""
    of_block: dict[nn.Module, list[tuple[int, Site]]] = {}
    for i, site in enumerate(sites):
        of_block.setdefault(site.block, []).append((i, site))
    position = iter(range(len(sites)))

    def forward(branches: list[tuple[int, Site]], x: Tensor, *args: Any) -> Tensor:
        for i, site in branches:
            assert next(position) == i, f'{site.name} did not run in module order.'
            x = run(x, site, i, args)
        return x

    try:
        for block, branches in of_block.items():
            block.forward = partial(forward, branches)
        yield
    finally:
        for block in of_block:
            block.__dict__.pop('forward', None)


def _residual(site: Site, x: Tensor, args: tuple) -> Tensor:
    if getattr(site.block, 'with_cp', False) and x.requires_grad:
        return checkpoint(
            site.branch.residual, site.block, x, *args, use_reentrant=False
        )
    return site.branch.residual(site.block, x, *args)


def _run_plain(x: Tensor, site: Site, i: int, args: tuple, factors: Tensor) -> Tensor:
    y = _residual(site, x, args)
    return _after(site, _shortcut(site, x) + _scaled(y, factors[i]))


def _shortcut(site: Site, x: Tensor) -> Tensor:
    shortcut = site.branch.shortcut
    return x if shortcut is None else shortcut(site.block, x)


def _after(site: Site, x: Tensor) -> Tensor:
    after = site.branch.after
    return x if after is None else after(site.block, x)


def _run_rows(x: Tensor, site: Site, i: int, args: tuple, steps: list[Step]) -> Tensor:
    step = steps[i]
    if step.split is not None:
        x = torch.cat([x, x.index_select(0, step.split)])
    if step.kept is not None and len(step.kept) == 0:
        parameters = site.block.parameters()
        return _after(site, _Skipped.apply(_shortcut(site, x), *parameters))
    kept = x
    if step.kept is not None:
        x, kept = _Take.apply(x, step.kept)
    y = _residual(site, kept, args)
    x = _shortcut(site, x)
    scale = step.scale
    if isinstance(scale, Tensor) or y.dtype in (torch.float16, torch.bfloat16):
        y, scale = _scaled(y, scale), 1.0
    if step.kept is None:
        return _after(site, torch.add(x, y, alpha=scale))
    dtype = torch.promote_types(x.dtype, y.dtype)  # they differ under autocast
    x = x.to(dtype).index_add(0, step.kept, y.to(dtype), alpha=scale)
    return _after(site, x)


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


def _scaled(y: Tensor, factor: float | Tensor) -> Tensor:
    """Rows times their factors, which are never rounded to half precision."""
    if isinstance(factor, Tensor):
        factor = factor.to(torch.promote_types(y.dtype, torch.float32))
        factor = factor.reshape(-1, *[1] * (y.ndim - 1))
    return (y * factor).to(y.dtype)
