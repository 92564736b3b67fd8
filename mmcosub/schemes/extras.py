"""Additional objectives of a scheme, and modules that it adds to a model."""

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from .step import Step


class Objective:
    """Base class of additional losses of a scheme.

    Args:
        weight (float): Weight of the losses. Defaults to 1.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Inspect the model, and return modules to add to it as ``Scheme.prepare``."""
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        """Return blocks of the model whose outputs the objective needs."""
        return []

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return weighted losses by name, after the heads of a pass."""
        raise NotImplementedError


class Extras(nn.ModuleDict):
    """Modules that train with a model and are not part of its ``state_dict``.

    CoTrainingLossHook stores them beside the model's weights, for resuming.
    """

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        # Loaders visit these modules next, and must not report them as missing. Not
        # before: MMEngine replaces SyncBN in models that are built.
        for child in self.children():
            for module in child.modules():
                vars(module)['_load_from_state_dict'] = _load_nothing

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Return nothing, so that the model's checkpoint has upstream's keys."""
        return {} if destination is None else destination

    def own_state(self) -> dict[str, Tensor]:
        """Return the tensors of the modules by name, for :meth:`load_own_state`."""
        tensors = chain(self.named_parameters(), self.named_buffers())
        return {name: tensor.detach() for name, tensor in tensors}

    @torch.no_grad()
    def load_own_state(self, state: dict[str, Tensor]) -> None:
        """Load a state of :meth:`own_state`; raise if it belongs to other modules."""
        own = self.own_state()
        shapes, saved = ({k: x.shape for k, x in s.items()} for s in (own, state))
        if shapes != saved:
            names = {*shapes, *saved}
            odd = sorted(n for n in names if shapes.get(n) != saved.get(n))
            raise ValueError(
                f'Of the tensors that the checkpoint keeps for the scheme, {len(odd)} '
                f'do not fit, such as {odd[0]}: it is of another scheme or model, or '
                'only one of the runs has unlabelled images. Resume with the settings '
                'that it was trained by, or start from its weights with load_from.'
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])


def _load_nothing(*args: Any, **kwargs: Any) -> None:
    """Replace a module's loading, as its weights are not in the checkpoint."""
