"""Rerouting modules of a backbone, in the forward pass and where it is recomputed."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


class Rerouting:
    """One pass through a backbone of which some modules run something else.

    Activation checkpointing computes parts of the pass again during backward, when the
    pass itself is over. Such a part re-enters this object, so that it meets the plan
    and the disturbance of its own iteration. Known are MMEngine's
    ``activation_checkpointing`` and PyTorch's ``checkpoint_wrapper``; subclasses see to
    the networks' own ``with_cp``.

    Args:
        backbone (nn.Module): The backbone.
        forwards (Mapping[Module, Callable]): What modules run in place of their own
            ``forward``.
        disturbed (Callable): Returns a context in which to compute.
        progress (Any): How far the pass has come, as the subclass counts; a part that
            is recomputed begins from a copy of what it was.

    Raises:
        ValueError: If the backbone recomputes activations in a way that cannot
            re-enter.
    """

    def __init__(
        self,
        backbone: nn.Module,
        forwards: Mapping[nn.Module, Callable],
        disturbed: Callable[[], AbstractContextManager],
        progress: Any,
    ) -> None:
        self.disturbed = disturbed
        self.progress = progress
        self.active = False
        self._forwards = dict(forwards)
        for name, module in backbone.named_modules():
            if _attribute(module, 'grad_checkpointing'):
                raise ValueError(
                    f'timm recomputes several blocks of {name or "the backbone"} at '
                    'once, where the submodels are not known. Turn its '
                    'grad_checkpointing off and use activation_checkpointing=[...] of '
                    'MMEngine with the names of the blocks.'
                )
            own = vars(module)
            inner: Any = own['_modules'].get('_checkpoint_wrapped_module')
            if inner is not None:  # PyTorch's wrapper
                self._forwards[module] = partial(self.recomputed, inner)
            elif hasattr(own.get('forward'), '__wrapped__'):  # MMEngine's
                inner = self._forwards.get(module, module.forward.__wrapped__)
                self._forwards[module] = partial(self.recomputed, inner)

    def check_complete(self) -> None:
        """Refuse a pass in which something did not run that was expected to."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Reroute the modules."""
        before = {m: vars(m).get('forward') for m in self._forwards}
        self.active = True
        try:
            for module, forward in self._forwards.items():
                module.forward = forward
            with self.disturbed():
                yield
        finally:
            self.active = False
            for module, stock in before.items():
                if stock is None:
                    vars(module).pop('forward', None)
                else:
                    module.forward = stock

    def recomputed(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run a part of which no activation is kept.

        Args:
            part (Callable): The part.
            *args (Any): Its arguments.
            **kwargs (Any): Its arguments by name.
        """
        progress = copy.copy(self.progress)

        @contextmanager
        def again() -> Iterator[None]:
            self.progress = copy.copy(progress)
            with self.entered():
                yield

        return self._checkpointed(again, part, *args, **kwargs)

    def recomputed_inside(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        """Do the same for a part that runs no rerouted module.

        Args:
            part (Callable): The part.
            *args (Any): Its arguments.
            **kwargs (Any): Its arguments by name.
        """
        return self._checkpointed(self.disturbed, part, *args, **kwargs)

    def _checkpointed(
        self,
        again: Callable[[], AbstractContextManager],
        part: Callable,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            with nullcontext() if self.active else again():
                return part(*args, **kwargs)

        return checkpoint(run, *args, use_reentrant=False, **kwargs)


def _attribute(module: nn.Module, name: str) -> Any:
    """As ``getattr(module, name, None)``, but quick for the many that have none."""
    there = name in vars(module) or hasattr(type(module), name)
    return getattr(module, name) if there else None
