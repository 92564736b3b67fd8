"""Forward of a backbone as the submodels of a plan, in one of four ways.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``R`` rows (``V * B``, unless some
samples have one view), ``...`` other dimensions.

The executions compute the same outputs and gradients. The first three are in the order
of their speed:

- ``plain``: all views are concatenated, every branch runs on every row, and its output
  is multiplied by its factor, 0 included. The reference.
- ``kept_rows``: every branch runs only on the rows that keep it.
- ``shared_prefix``: also, views of a sample share a row until they first differ.
- ``drop_path``: all views are concatenated, and the network's own DropPath modules
  apply the factors. For networks whose blocks are not known; see ``drop_paths``.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map

from .branches import Site, list_modules
from .drop_path_modules import dropout_rate_name
from .drop_paths import are_drop_paths
from .forward_override import ForwardOverride
from .isolation import outputs_of
from .plan import Plan, RowPlan, plan_rows, to_device
from .rows import Rows, gather, plain_sum
from .run import DropPathRun, SubmodelRun

EXECUTIONS = ('plain', 'kept_rows', 'shared_prefix', 'drop_path')


def run_submodels(
    backbone: nn.Module,
    images: Tensor,
    plan: Plan,
    sites: Sequence[Site],
    execution: str = 'shared_prefix',
    taps: Sequence[nn.Module] = (),
    perturbed: Callable[[], AbstractContextManager] = nullcontext,
    read: Callable[[Any], Any] = lambda outputs: outputs,
) -> tuple[Any, float]:
    """Run a backbone as the submodels of all views of a plan.

    Args:
        backbone (nn.Module): The backbone, whose own ``forward`` runs.
        images (Tensor): Of shape (B, ...).
        plan (Plan): Branches that each view keeps, for the same B.
        sites (Sequence[Site]): The backbone's branches, from ``find_branches``, or its
            DropPath modules, from ``called_drop_paths``.
        execution (str): One of ``EXECUTIONS``. Defaults to 'shared_prefix', for
            networks of which ``is_exact`` is true.
        taps (Sequence[Module]): Blocks whose outputs to return too. Defaults to none.
        perturbed (Callable): Returns a context to run in, for instance one with other
            dropout rates. It is entered again when the backward pass recomputes
            activations. Defaults to ``nullcontext``.
        read (Callable): Returns the outputs to keep, nested tensors, of the backbone's.
            Defaults to all.

    Returns:
        tuple: The outputs with every tensor of shape (R, ...), for the R
        rows ``plan.computed``, and the fraction of the ``L * V * B`` branch evaluations
        computed. With taps, the first is a pair: the outputs and the list of taps.

    Raises:
        ValueError: If the execution is not known or cannot run this backbone, or a
            block gets other rows than the plan expects.
    """
    _check_execution(backbone, sites, execution)
    share = execution == 'shared_prefix'
    rows: RowPlan | None = None
    run: ForwardOverride
    if execution in ('plain', 'drop_path'):
        dtype = torch.promote_types(images.dtype, torch.float32)
        factors = to_device(plan.factors, images.device, dtype)
        if execution == 'plain':
            branch = partial(plain_sum, factors)
            run = SubmodelRun(backbone, sites, branch, perturbed, share)
        else:
            calls: Any = sites  # DropPathSites, as checked above
            run = DropPathRun(backbone, calls, factors, perturbed)
    else:
        rows = plan_rows(plan, share, images.device)
        run = SubmodelRun(backbone, sites, Rows(rows.steps), perturbed, share)
    if not share and plan.paired is None:
        images = images.repeat(plan.views, *[1] * (images.ndim - 1))
    elif not share:
        samples = to_device(plan.computed % plan.batch, images.device)
        images = images.index_select(0, samples)
    with outputs_of(taps) as tapped, run.entered():
        outputs = read(backbone(images))
    run.check_complete()
    if taps:
        outputs = outputs, [output for _, output in tapped]
    if rows is None:
        return outputs, len(plan.computed) / (plan.views * plan.batch)
    return tree_map(partial(_expand, rows=rows), outputs), rows.work


def _check_execution(
    backbone: nn.Module, sites: Sequence[Site], execution: str
) -> None:
    valid = ['drop_path'] if are_drop_paths(sites) else [*EXECUTIONS[:3]]
    if execution not in valid:
        raise ValueError(
            f'The execution {execution!r} cannot run {type(backbone).__name__}, whose '
            f'branches are {type(sites[0]).__name__}s. Pass one of {valid}, or set '
            "scheme.execution='auto' in a config."
        )


def _expand(output: Any, rows: RowPlan) -> Any:
    """Expand an output to the rows of the plan."""
    if not isinstance(output, Tensor):
        return output
    if output.shape[0] not in rows.rows_of_views:
        raise ValueError(
            f'The backbone returns {output.shape[0]} rows, and the plan knows only '
            f'{sorted(rows.rows_of_views)}: some module changes the batch dimension. '
            "Set scheme.execution='plain', or register that module "
            '(mmcosub.submodels.register_block).'
        )
    index = rows.rows_of_views[output.shape[0]]
    return output if index is None else gather(output, index)


# ---- which executions are exact --------------------------------------------------


def fastest_exact(backbone: nn.Module, sites: Sequence[Site] = ()) -> str:
    """Return the fastest execution that computes what the plain one does.

    BatchNorm in training mode makes rows depend on one another, which needs 'plain'
    inside of blocks. Dropout would give views that share a row the same noise, which
    rules out 'shared_prefix'. So do networks that need a constant number of rows;
    ``is_exact`` finds them.

    Args:
        backbone (nn.Module): The backbone, in the mode in which it will run.
        sites (Sequence[Site]): Its branches. Defaults to those of known blocks.
    """
    if are_drop_paths(sites):
        return 'drop_path'
    fastest = 'shared_prefix', 'kept_rows', 'plain'
    return next(e for e in fastest if inexact(backbone, e, sites) is None)


def inexact(
    backbone: nn.Module, execution: str, sites: Sequence[Site] = ()
) -> str | None:
    """Return the reason why an execution differs from the plain one, or None.

    Args:
        backbone (nn.Module): The backbone, in the mode in which it will run.
        execution (str): One of ``EXECUTIONS``.
        sites (Sequence[Site]): Its branches: with 'kept_rows', all rows run outside of
            their blocks. Defaults to none, where any module may see fewer rows.
    """
    if execution in ('plain', 'drop_path'):
        return None
    active = [m for m in list_modules(backbone) if m.training]
    if any(issubclass(cls, _BatchNorm) for cls in {type(m) for m in active}):
        blocks = {site.block for site in sites} if execution == 'kept_rows' else ()
        split = [m for b in blocks for m in list_modules(b)] if blocks else active
        if any(isinstance(m, _BatchNorm) and m.training for m in split):
            return 'BatchNorm in training mode sees the rows of a branch'
    own = [m for m in active if type(m).__name__ == 'PatchDropoutWithIndices']  # EVA's
    if any(m.prob > 0 for m in own):
        return 'each row has positions of its own, as patches of it are dropped'
    if execution == 'kept_rows':
        return None
    if any(map(_has_dropout, active)):
        return 'dropout would be the same in views that share a row'
    return None


def _has_dropout(module: Any) -> bool:
    own = vars(module)
    # Attention passes plain numbers to the fused kernel, timm's networks to F.dropout.
    names = dropout_rate_name(module.__class__), 'attn_drop', 'dropout', 'drop_rate'
    rates = (own[name] for name in names if name in own)
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
