"""Override of forwards during one pass, also under activation checkpointing."""

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
    """One forward of a backbone in which some modules run another ``forward``.

    Activation checkpointing recomputes parts of the pass during backward, when the pass
    itself is over. Such a part re-enters this object, so that it uses the plan and the
    perturbation of its own iteration. Supported are MMEngine's
    ``activation_checkpointing``, PyTorch's ``checkpoint_wrapper`` and calls of
    PyTorch's ``checkpoint`` in the networks. Subclasses handle the ``with_cp`` of
    blocks whose own ``forward`` does not run.

    Args:
        backbone (nn.Module): The backbone.
        forwards (Mapping[Module, Callable]): New ``forward`` of each module.
        perturbed (Callable): Returns a context to run in.
        progress (Any): The subclass's count of branches done. A recomputed part starts
            from a copy of the count that it started from first.
    """

    def __init__(
        self,
        backbone: nn.Module,
        forwards: Mapping[nn.Module, Callable],
        perturbed: Callable[[], AbstractContextManager],
        progress: Any,
    ) -> None:
        self.perturbed = perturbed
        self.progress = progress
        self.active = False
        self._forwards = dict(forwards)
        self._with_gradients = False
        self._importers = {_CHECKPOINTS}
        classes: set[Any] = {type(module) for module in backbone.modules()}
        for cls in classes:
            self._importers.update(_importers_of_checkpoint(cls))
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
        """Raise if the pass left out a branch."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Install the forwards, and restore the modules on leaving."""
        before = {m: vars(m).get('forward') for m in self._forwards}
        checkpoints: dict[Any, Any] = {m: m.checkpoint for m in self._importers}
        self.active = True
        self._with_gradients = torch.is_grad_enabled()
        try:
            for module, forward in self._forwards.items():
                module.forward = forward
            for importer in checkpoints:
                importer.checkpoint = self._checkpoint_of_network
            with self.perturbed():
                yield
        finally:
            self.active = False
            for importer, original in checkpoints.items():
                importer.checkpoint = original
            for module, original in before.items():
                if original is None:
                    vars(module).pop('forward', None)
                else:
                    module.forward = original

    def expect_gradients(self, block: nn.Module, name: str) -> None:
        """Raise if the network recomputes a block in a way that cannot be supported.

        PyTorch's reentrant ``checkpoint`` runs a part without gradients first. In the
        backward pass, it would run the unmodified blocks.

        Args:
            block (nn.Module): The block that runs.
            name (str): Its name.

        Raises:
            ValueError: If it runs without gradients that it needs.
        """
        if torch.is_grad_enabled() or not self._with_gradients:
            return
        # A block in evaluation mode may turn gradients off itself.
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
        """Replace PyTorch's ``checkpoint``, and recompute with the plan."""
        return self.recomputed(part, *args, **kwargs)

    def recomputed(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run a part of the network without storing its activations.

        Args:
            part (Callable): The part.
            *args (Any): Its arguments.
            **kwargs (Any): Its keyword arguments.
        """
        progress = copy.copy(self.progress)

        @contextmanager
        def again() -> Iterator[None]:
            self.progress = copy.copy(progress)
            with self.entered():
                yield

        return self._checkpointed(again, part, *args, **kwargs)

    def recomputed_inside(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run a part that contains no overridden module, without storing activations.

        Args:
            part (Callable): The part.
            *args (Any): Its arguments.
            **kwargs (Any): Its keyword arguments.
        """
        return self._checkpointed(self.perturbed, part, *args, **kwargs)

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


# Most networks, and timm's own `checkpoint`, look the function up in this module.
_CHECKPOINTS = sys.modules[checkpoint.__module__]


@cache  # called in every step
def _importers_of_checkpoint(cls: Any) -> list[ModuleType]:
    """Return the files of a class and its bases that import ``checkpoint`` itself."""
    files = (sys.modules[c.__module__] for c in cls.__mro__)
    return [f for f in files if vars(f).get('checkpoint') is checkpoint]
