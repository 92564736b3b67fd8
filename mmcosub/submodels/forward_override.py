"""ForwardOverride modules of a backbone, in the forward pass and where it is recomputed."""

import copy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class ForwardOverride:
    """One pass through a backbone of which some modules run something else.

    Activation checkpointing computes parts of the pass again during backward, when the
    pass itself is over. Such a part re-enters this object, so that it meets the plan
    and the disturbance of its own iteration. Known are MMEngine's
    ``activation_checkpointing``, PyTorch's ``checkpoint_wrapper`` and what the networks
    hand to PyTorch's ``checkpoint`` themselves; subclasses see to the ``with_cp`` of
    blocks whose own ``forward`` does not run.

    Args:
        backbone (nn.Module): The backbone.
        forwards (Mapping[Module, Callable]): What modules run in place of their own
            ``forward``.
        disturbed (Callable): Returns a context in which to compute.
        progress (Any): How far the pass has come, as the subclass counts; a part that
            is recomputed begins from a copy of what it was.
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
        self._with_gradients = False
        self._importers = {_CHECKPOINTS}
        kinds: set[Any] = {type(module) for module in backbone.modules()}
        for kind in kinds:
            self._importers.update(_importers_of_checkpoint(kind))
        for module in backbone.modules():
            own = vars(module)
            inner: Any = own['_modules'].get('_checkpoint_wrapped_module')
            if inner is not None:  # PyTorch's wrapper
                self._forwards[module] = partial(self.recomputed, inner)
            elif hasattr(own.get('forward'), '__wrapped__'):  # MMEngine's
                wrapped: Any = own['forward']
                inner = self._forwards.get(module, wrapped.__wrapped__)
                self._forwards[module] = partial(self.recomputed, inner)

    def check_complete(self) -> None:
        """Refuse a pass in which something did not run that was expected to."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Reroute the modules."""
        before = {m: vars(m).get('forward') for m in self._forwards}
        checkpoints: dict[Any, Any] = {m: m.checkpoint for m in self._importers}
        self.active = True
        self._with_gradients = torch.is_grad_enabled()
        try:
            for module, forward in self._forwards.items():
                module.forward = forward
            for importer in checkpoints:
                importer.checkpoint = self._checkpoint_of_network
            with self.disturbed():
                yield
        finally:
            self.active = False
            for importer, stock in checkpoints.items():
                importer.checkpoint = stock
            for module, stock in before.items():
                if stock is None:
                    vars(module).pop('forward', None)
                else:
                    module.forward = stock

    def expect_gradients(self, block: nn.Module, name: str) -> None:
        """Refuse a part that the network recomputes unseen.

        PyTorch's reentrant ``checkpoint`` runs a part without gradients first. What it
        runs again in the backward pass would be the stock blocks.

        Args:
            block (nn.Module): The block that runs.
            name (str): Its name.

        Raises:
            ValueError: If it runs without gradients that it needs.
        """
        if torch.is_grad_enabled() or not self._with_gradients:
            return
        # One that predicts does without gradients of its own accord.
        if block.training and any(p.requires_grad for p in block.parameters()):
            raise ValueError(
                f'{name!r} runs without gradients: the backbone recomputes it in a way '
                'that mmcosub does not see, and its submodels would be others then. '
                "Turn the backbone's own checkpointing off and use "
                'activation_checkpointing=[...] of MMEngine with the names of blocks.'
            )

    def _checkpoint_of_network(
        self,
        part: Callable,
        *args: Any,
        use_reentrant: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """What PyTorch's ``checkpoint`` does, with the plan when it recomputes."""
        return self.recomputed(part, *args, **kwargs)

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


# Most networks look the function up here, and timm's own function does.
_CHECKPOINTS = sys.modules[checkpoint.__module__]


@cache  # asked for in every step
def _importers_of_checkpoint(kind: Any) -> list[ModuleType]:
    """Of the files that define a class, those that import the function itself."""
    files = (sys.modules[c.__module__] for c in kind.__mro__)
    return [f for f in files if vars(f).get('checkpoint') is checkpoint]
