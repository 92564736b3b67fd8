from typing import Any

from torch import nn


class Extras(nn.ModuleDict):
    """Modules that train with a model and are no part of its checkpoint.

    A mask token, say, or classifiers of earlier stages: what a scheme needs and the
    stock model has not. CoTrainingLossHook keeps them in checkpoints of its own accord,
    beside the model's weights, to resume from.
    """

    def state_dict(self, *args: Any, destination: Any = None, **kwargs: Any) -> Any:
        """Nothing, so that the model's checkpoint is the stock model's."""
        return {} if destination is None else destination

    def own_state(self) -> dict:
        """What :meth:`load_own_state` takes."""
        return super().state_dict()

    def load_own_state(self, state: dict) -> None:
        """Load all of it.

        Args:
            state (dict): From :meth:`own_state`.
        """
        for name, module in self.items():
            part = {
                key.removeprefix(f'{name}.'): value
                for key, value in state.items()
                if key.startswith(f'{name}.')
            }
            module.load_state_dict(part)

    def _load_from_state_dict(self, *args: Any) -> None:
        """Nothing: it is not there."""
