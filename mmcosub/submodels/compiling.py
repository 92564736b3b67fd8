"""Residual functions compiled by ``torch.compile``, for any number of rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from .branches import Branch, Site
from .drop_paths import are_drop_paths


def compiled_sites(sites: Sequence[Site], **options: Any) -> list[Site]:
    """Return branches whose residual functions are compiled on their first call.

    Blocks of a stage whose parameters have the same shapes share one compiled function.
    If they differ in more than weights (every other Swin block shifts its windows),
    PyTorch compiles one version of it for each variant. DropPath modules stay. The
    options are those of ``torch.compile``.
    """
    if are_drop_paths(sites):
        return list(sites)
    shared: dict[tuple, Branch] = {}
    compiled = []
    for site in sites:
        shapes = tuple(p.shape for p in site.block.parameters())
        key = site.stage, site.branch, shapes
        if key not in shared:
            residual = CompiledResidual(site.branch.residual, options)
            shared[key] = replace(site.branch, residual=residual)
        compiled.append(replace(site, branch=shared[key]))
    return compiled


class CompiledResidual:
    """Residual function that is compiled once for any number of rows.

    Uncompiled are single rows, which PyTorch would compile again, and the check before
    the first step, without gradients.
    """

    def __init__(self, plain: Callable[..., Tensor], options: dict[str, Any]) -> None:
        self.plain = plain
        self.options = options

        def run(block: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            return plain(block, x, *args, **kwargs)

        # A code object of its own: PyTorch limits recompilations per code object.
        own = FunctionType(
            run.__code__.replace(), run.__globals__, closure=run.__closure__
        )
        self._compiled = torch.compile(own, fullgraph=True, **options)

    def __reduce__(self) -> tuple:
        # A copy compiles again: compiled functions cannot be pickled.
        return type(self), (self.plain, self.options)

    def __call__(
        self, block: nn.Module, x: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        if len(x) < 2 or not torch.is_grad_enabled():
            return self.plain(block, x, *args, **kwargs)
        # Imported here, as it takes a second that few runs need.
        from torch._dynamo import mark_dynamic
        from torch._dynamo.exc import TorchDynamoException
        from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

        mark_dynamic(x, 0)
        try:
            return self._compiled(block, x, *args, **kwargs)
        except (TorchDynamoException, ConstraintViolationError) as error:
            reason = str(error).strip().partition('\n')[0].rstrip('.')
            raise ValueError(
                f'PyTorch {torch.__version__} cannot compile a branch of '
                f'{type(block).__name__} for any number of rows: {reason}. Leave '
                '`compile` out of the config, or take a newer PyTorch.'
            ) from error
