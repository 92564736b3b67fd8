"""Modules that a scheme adds to a model and that no checkpoint of the model holds."""

from typing import Any

import torch
from torch import nn


class Extras(nn.ModuleDict):
    """Modules that train with a model and are no part of its checkpoint.

    A mask token, say, or classifiers of earlier stages: what a scheme needs and the
    stock model has not. CoTrainingLossHook keeps them in checkpoints of its own accord,
    beside the model's weights, to resume from.

    Args:
        modules (dict[str, Module]): The modules, by name.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__(modules)
        for module in self.modules():
            # Loaders ask every module by itself, and none of these is to be missed.
            module._load_from_state_dict = _load_nothing  # type: ignore[method-assign]

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Nothing, so that the model's checkpoint is the stock model's."""
        return {} if destination is None else destination

    def own_state(self) -> dict[str, torch.Tensor]:
        """What :meth:`load_own_state` takes."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name: tensor.detach() for name, tensor in tensors.items()}

    @torch.no_grad()
    def load_own_state(self, state: dict[str, torch.Tensor]) -> None:
        """Load all of it.

        Args:
            state (dict[str, Tensor]): From :meth:`own_state`.

        Raises:
            ValueError: If it is of other modules.
        """
        own = self.own_state()
        if {k: t.shape for k, t in own.items()} != {
            k: t.shape for k, t in state.items()
        }:
            raise ValueError(
                f'The checkpoint keeps {sorted(state)} for the scheme, which has '
                f'{sorted(own)}, or other shapes: it is of another scheme or model. '
                'Resume with the settings that it was trained by.'
            )
        for name, tensor in own.items():
            tensor.copy_(state[name])


class MaskToken(nn.Module):
    """A learned token that stands for what is masked.

    Args:
        channels (int): Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))
        nn.init.trunc_normal_(self.value, std=0.02)


def _load_nothing(*args: Any, **kwargs: Any) -> None:
    """In place of a module's loading: its weights are not in the checkpoint."""
