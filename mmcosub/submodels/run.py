"""Rerouting a backbone's blocks, in the forward pass and wherever it is recomputed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .branches import Site


class RunBranch(Protocol):
    """Runs one branch of one block on the rows."""

    def __call__(
        self, x: Tensor, site: Site, i: int, residual: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Compute the block's sum for this branch.

        Args:
            x (Tensor): What comes in, of shape (R, ...).
            site (Site): The branch.
            i (int): Its number among all branches.
            residual (Callable): The branch's function of rows.
        """


class SubmodelRun:
    """One pass through a backbone whose blocks are run by a plan.

    Activation checkpointing computes parts of the pass again during backward, when the
    pass itself is over. Such a part re-enters this object, so that it meets the plan
    and the disturbance of its own iteration. Known are the blocks' own ``with_cp``,
    MMEngine's ``activation_checkpointing`` and PyTorch's ``checkpoint_wrapper``.

    Args:
        backbone (nn.Module): The backbone.
        sites (Sequence[Site]): Its branches.
        branch (RunBranch): Runs one of them.
        disturbed (Callable): Returns a context in which to compute.
        ordered (bool): Whether branches have to run in the order of ``sites``.

    Raises:
        ValueError: If the backbone recomputes activations in a way that cannot
            re-enter.
    """

    def __init__(
        self,
        backbone: nn.Module,
        sites: Sequence[Site],
        branch: RunBranch,
        disturbed: Callable[[], AbstractContextManager],
        ordered: bool,
    ) -> None:
        self.sites = sites
        self.branch = branch
        self.disturbed = disturbed
        self.ordered = ordered
        self.position = 0  # number of branches that have run
        self._active = False
        self._forwards = self._rerouted(backbone)

    def _rerouted(self, backbone: nn.Module) -> dict[nn.Module, Callable]:
        """What each module that does not run as it stands runs instead."""
        of_block: dict[nn.Module, list[tuple[int, Site]]] = {}
        for i, site in enumerate(self.sites):
            of_block.setdefault(site.block, []).append((i, site))
        forwards: dict[nn.Module, Callable] = {
            block: partial(self._run_block, branches)
            for block, branches in of_block.items()
        }
        for name, module in backbone.named_modules():
            if getattr(module, 'grad_checkpointing', False):
                raise ValueError(
                    f'timm recomputes several blocks of {name or "the backbone"} at '
                    'once, where the submodels are not known. Turn its '
                    'grad_checkpointing off and use activation_checkpointing=[...] of '
                    'MMEngine with the names of the blocks.'
                )
            if hasattr(module, '_checkpoint_wrapped_module'):  # PyTorch's wrapper
                forwards[module] = partial(
                    self._recomputed, module._checkpoint_wrapped_module
                )
            elif hasattr(vars(module).get('forward'), '__wrapped__'):  # MMEngine's
                inner = forwards.get(module, module.forward.__wrapped__)
                forwards[module] = partial(self._recomputed, inner)
        return forwards

    @contextmanager
    def entered(self, position: int = 0) -> Iterator[None]:
        """Let every block run by the plan.

        Args:
            position (int): Number of branches before the part that is to run. Defaults
                to 0.
        """
        if self._active:
            yield
            return
        before = {m: vars(m).get('forward') for m in self._forwards}
        self.position = position
        self._active = True
        try:
            for module, forward in self._forwards.items():
                module.forward = forward
            with self.disturbed():
                yield
        finally:
            self._active = False
            for module, stock in before.items():
                if stock is None:
                    vars(module).pop('forward', None)
                else:
                    module.forward = stock

    def _run_block(
        self, branches: list[tuple[int, Site]], x: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        for i, site in branches:
            if self.ordered and i != self.position:
                expected = self.sites[self.position % len(self.sites)].name
                raise ValueError(
                    f'{site.name} runs where {expected} was expected: blocks run in '
                    'another order than they are listed. Set scheme.execution='
                    "'kept_rows', and make the backbone known to register_fixed_batch "
                    '(docs/add_a_block.md).'
                )
            self.position += 1
            x = self.branch(x, site, i, partial(self._residual, site, args, kwargs))
        return x

    def _residual(self, site: Site, args: tuple, kwargs: dict, x: Tensor) -> Tensor:
        residual = partial(site.branch.residual, site.block)
        if getattr(site.block, 'with_cp', False) and x.requires_grad:
            # It has no blocks inside to reroute again, only the disturbance to repeat.
            return _checkpointed(self._disturbed_again, residual, x, *args, **kwargs)
        return residual(x, *args, **kwargs)

    @contextmanager
    def _disturbed_again(self) -> Iterator[None]:
        with nullcontext() if self._active else self.disturbed():
            yield

    def _recomputed(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        enter = partial(self.entered, self.position)
        return _checkpointed(enter, part, *args, **kwargs)


def _checkpointed(
    enter: Callable[[], AbstractContextManager],
    part: Callable,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Run a part of which no activation is kept, in the same context both times."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with enter():
            return part(*args, **kwargs)

    return checkpoint(run, *args, use_reentrant=False, **kwargs)
