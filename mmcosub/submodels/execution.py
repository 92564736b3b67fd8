"""Forward of a backbone as the submodels of a plan.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``R`` rows, ``...`` other
dimensions.

Four executions compute the same outputs and gradients:

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
from torch.utils._pytree import tree_map

from .branches import Site, has_fixed_batch
from .drop_paths import DropPathRun
from .exactness import EXECUTIONS, are_drop_paths
from .forward_override import ForwardOverride
from .isolation import outputs_of
from .plan import Plan, RowPlan, plan_rows, to_device
from .rows import PlainRows, Rows, Spread
from .run import SubmodelRun


def run_submodels(
    backbone: nn.Module,
    images: Tensor,
    plan: Plan,
    sites: Sequence[Site],
    execution: str = 'shared_prefix',
    taps: Sequence[nn.Module] = (),
    perturbed: Callable[[], AbstractContextManager] = nullcontext,
) -> tuple[Any, float]:
    """Run a backbone as the submodels of all views of a plan.

    Args:
        backbone (nn.Module): The backbone, whose own ``forward`` runs.
        images (Tensor): Of shape (B, ...).
        plan (Plan): Branches that each view keeps, for the same B.
        sites (Sequence[Site]): The backbone's branches, from ``find_branches``, or its
            DropPath modules, from ``called_drop_paths``.
        execution (str): One of ``EXECUTIONS``. Defaults to 'shared_prefix'.
        taps (Sequence[Module]): Blocks whose outputs to return too. Defaults to none.
        perturbed (Callable): Returns a context to run in, for instance one with other
            dropout rates. It is entered again when the backward pass recomputes
            activations. Defaults to ``nullcontext``.

    Returns:
        tuple: The backbone's outputs with every tensor of shape (V * B, ...), views
        outermost, and the fraction of the ``L * V * B`` branch evaluations computed.
        With taps, the first is a pair: the backbone's outputs and the list of taps.

    Raises:
        ValueError: If the execution is not known or cannot run this backbone, or a
            block gets other rows than the plan expects.
    """
    if execution not in EXECUTIONS:
        raise ValueError(
            f'Unknown execution {execution!r}. Valid ones are {list(EXECUTIONS)}.'
        )
    if (execution == 'drop_path') != are_drop_paths(sites):
        fits = 'drop_path' if are_drop_paths(sites) else 'shared_prefix'
        raise ValueError(
            f'The execution {execution!r} cannot run {type(backbone).__name__}, whose '
            f'branches are {type(sites[0]).__name__}s. Pass execution={fits!r}, or '
            "set scheme.execution='auto' in a config."
        )
    share = execution == 'shared_prefix'
    if share and has_fixed_batch(backbone):
        raise ValueError(
            f'Views cannot share rows in {type(backbone).__name__}, which needs a '
            "constant number of rows. Pass execution='kept_rows', or set "
            "scheme.execution='auto' in a config."
        )
    rows: RowPlan | None = None
    run: ForwardOverride
    if execution in ('plain', 'drop_path'):
        dtype = torch.promote_types(images.dtype, torch.float32)
        factors = to_device(plan.multipliers, images.device, dtype).flatten(1)
        if execution == 'plain':
            run = SubmodelRun(backbone, sites, PlainRows(factors), perturbed, share)
        else:
            calls: Any = sites  # DropPathSites, as checked above
            run = DropPathRun(backbone, calls, factors, perturbed)
    else:
        rows = plan_rows(plan, share, images.device)
        run = SubmodelRun(backbone, sites, Rows(rows.steps), perturbed, share)
    if not share:
        images = images.repeat(plan.views, *[1] * (images.ndim - 1))
    with outputs_of(taps) as tapped, run.entered():
        outputs = backbone(images)
    run.check_complete()
    if taps:
        outputs = outputs, [output for _, output in tapped]
    if rows is None:
        return outputs, 1.0
    return tree_map(partial(_expand, rows=rows), outputs), rows.work


def _expand(output: Any, rows: RowPlan) -> Any:
    """Expand an output to one row per view and sample."""
    if not isinstance(output, Tensor):
        return output
    if output.shape[0] not in rows.rows_of_views:
        raise ValueError(
            f'The backbone returns {output.shape[0]} rows, and the plan knows only '
            f'{sorted(rows.rows_of_views)}: some module changes the batch dimension. '
            "Set scheme.execution='plain', and see docs/add_a_block.md."
        )
    index = rows.rows_of_views[output.shape[0]]
    return output if index is None else Spread.apply(output, index)
