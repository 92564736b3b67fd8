"""What all co-training models of MMEngine share."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmcosub.schemes import Scheme
from mmcosub.schemes.training import SubmodelTraining

from .lean import lean_step
from .recomputing import recompute_without_reentry


class CoTraining(SubmodelTraining):
    """Mixin that runs a model's backbone as the submodels of a scheme, in MMEngine.

    It adds no parameter, buffer or submodule to checkpoints, so that they are those of
    the unmodified model. To be called last in ``__init__``: :meth:`init_co_training`.
    """

    train: Callable

    def init_co_training(
        self, scheme: dict | Scheme, activations: set[str], where: str
    ) -> None:
        """See :class:`SubmodelTraining`."""
        self.train()  # frozen stages leave the training mode here
        super().init_co_training(scheme, activations, where)

    def _check_once(self, inputs: Tensor) -> None:
        model: Any = self
        recompute_without_reentry(model, self.backbone)
        super()._check_once(inputs)

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Forward, backward and step, pass by pass if the scheme is lean.

        Args:
            data (dict | tuple | list): A batch of the data loader.
            optim_wrapper (OptimWrapper): Updates the parameters.
        """
        if not self.scheme.lean:
            return super().train_step(data, optim_wrapper)  # type: ignore[misc]
        return lean_step(self, self, data, optim_wrapper)
