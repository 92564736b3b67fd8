"""What all co-training models of MMEngine share."""

from collections.abc import Callable
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmcosub.schemes import Scheme
from mmcosub.schemes.training import SubmodelTraining

from .recomputing import recompute_without_reentry
from .sequential_backward import sequential_backward_step
from .unlabelled import UnlabelledBatch


class CoTraining(SubmodelTraining):
    """Mixin that runs a model's backbone as the submodels of a scheme, in MMEngine.

    It adds no parameter, buffer or submodule to checkpoints, so that they are those of
    the unmodified model. To be called last in ``__init__``: :meth:`init_co_training`.
    """

    train: Callable
    unlabelled: UnlabelledBatch | None = None

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

    def init_unlabelled(self, cfg: dict | None) -> None:
        """Learn from unlabelled images, too, where batches bring some.

        Args:
            cfg (dict, optional): Arguments of
                :class:`~mmcosub.schemes.unlabelled.Unlabelled`.
        """
        self.unlabelled = None if cfg is None else UnlabelledBatch(self, cfg)

    def forward(
        self,
        inputs: Tensor,
        data_samples: list | None = None,
        mode: str = 'tensor',
        unlabelled: dict | None = None,
    ) -> Any:
        """See MMEngine's ``BaseModel``.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list, optional): Their labels.
            mode (str): 'loss', 'predict' or 'tensor'. Defaults to 'tensor'.
            unlabelled (dict, optional): Unlabelled images of the batch, with 'loss'.
        """
        outputs = super().forward(inputs, data_samples, mode)  # type: ignore[misc]
        if unlabelled is not None:
            assert self.unlabelled is not None
            outputs['loss_unlabelled'] = self.unlabelled.loss(self, unlabelled)
        return outputs

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Forward, backward and step, pass by pass if the scheme is lean.

        Args:
            data (dict | tuple | list): A batch of the data loader.
            optim_wrapper (OptimWrapper): Updates the parameters.
        """
        if self.scheme.lean or 'unlabelled' in data:
            return sequential_backward_step(self, self, data, optim_wrapper)
        return super().train_step(data, optim_wrapper)  # type: ignore[misc]
