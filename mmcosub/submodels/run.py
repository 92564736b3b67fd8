"""Forward of known blocks, branch by branch."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .branches import Site, block_output
from .forward_override import ForwardOverride


@dataclass(frozen=True)
class BranchCall:
    """One branch of a block, and the other arguments of the block's ``forward``.

    Among all branches, its index is ``number``; those of its block are ``first`` to
    ``last``. ``residual`` is its function of rows.
    """

    site: Site
    number: int
    first: int
    last: int
    residual: Callable[[Tensor], Tensor]
    args: tuple
    kwargs: dict

    def shortcut(self, x: Tensor) -> Tensor:
        """Return the term that the branch is added to."""
        shortcut = self.site.branch.shortcut
        if shortcut is None:
            return x
        return shortcut(self.site.block, x, *self.args, **self.kwargs)

    def after(self, x: Tensor) -> Tensor:
        """Apply the block's function of the sum, such as an activation."""
        after = self.site.branch.after
        return x if after is None else after(self.site.block, x)

    @property
    def sources(self) -> list[Tensor]:
        """Parameters and arguments, other than rows, that may get a gradient."""
        given = (*self.args, *self.kwargs.values())
        learned = [t for t in given if isinstance(t, Tensor) and t.requires_grad]
        return [*self.site.block.parameters(), *learned]


RunBranch = Callable[[Tensor, BranchCall], Tensor]
"""Function of a block's rows so far, (R, ...), and a branch: the sum after it."""


class SubmodelRun(ForwardOverride):
    """One forward of a backbone whose known blocks run by a plan.

    ``branch`` runs each of them; if ``ordered``, in the order of ``sites`` alone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        sites: Sequence[Site],
        branch: RunBranch,
        perturbed: Callable[[], AbstractContextManager],
        ordered: bool,
    ) -> None:
        self.sites = sites
        self.branch = branch
        self.ordered = ordered
        of_block: dict[nn.Module, list[tuple[int, Site]]] = {}
        for i, site in enumerate(sites):
            of_block.setdefault(site.block, []).append((i, site))
        forwards = {b: partial(self._run_block, found) for b, found in of_block.items()}
        super().__init__(backbone, forwards, perturbed, progress=0, blocks=of_block)

    def check_complete(self) -> None:
        """Raise if a block was skipped, as where a compiled copy of it runs."""
        if self.progress < len(self.sites):
            names = {site.name for site in self.sites}
            raise ValueError(
                f'{self.progress} of {len(self.sites)} branches of {len(names)} blocks '
                'ran, so some blocks were skipped and cannot be co-trained. Leave out '
                'what replaces parts of the backbone, such as efficient_conv_bn_eval '
                'of MMEngine or layer drop.'
            )

    def _run_block(
        self, branches: list[tuple[int, Site]], x: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        (first, site), (last, _) = branches[0], branches[-1]
        self.expect_gradients(site.block, site.name)
        for i, site in branches:
            if self.ordered and i != self.progress:
                expected = self.sites[self.progress % len(self.sites)].name
                raise ValueError(
                    f'{site.name} runs where {expected} was expected: blocks run in '
                    'another order than they are listed. Set scheme.execution='
                    "'kept_rows', and register the backbone with register_fixed_batch "
                    '(docs/add_a_block.md).'
                )
            self.progress += 1
            residual = partial(self._residual, site, args, kwargs)
            call = BranchCall(site, i, first, last, residual, args, kwargs)
            x = self.branch(x, call)
        output = block_output(site.block)
        return x if output is None else output(site.block, x, *args, **kwargs)

    def _residual(self, site: Site, args: tuple, kwargs: dict, x: Tensor) -> Tensor:
        residual = partial(site.branch.residual, site.block)
        if site.block in self.recomputed_blocks and torch.is_grad_enabled():
            return self.recomputed_inside(residual, x, *args, **kwargs)
        return residual(x, *args, **kwargs)
