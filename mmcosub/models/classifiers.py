"""Base of the co-training wrappers of mmpretrain's classifiers.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``K`` logits per image and class, for
heads with several.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.losses import activations
from mmcosub.schemes import Scheme, Step
from mmcosub.schemes.step import total_loss

from .co_training import CoTraining


class CoTrainingClassifier(CoTraining):
    """Base class of the wrappers of classifiers."""

    sums_classes = True
    """If True, a binary label loss is summed over classes, as in mmpretrain's heads."""
    _activations: set[str]
    """Activations of the label loss that the distillation loss was chosen by."""

    @property
    @abstractmethod
    def label_loss(self) -> nn.Module:
        """Loss of logits and labels."""

    @abstractmethod
    def head_logits(self, features: Any) -> Tensor:
        """Return logits (V * B, C) or (V * B, C, K) from the backbone's outputs."""

    @abstractmethod
    def head_losses(self, logits: Tensor, data_samples: list) -> dict[str, Any]:
        """Return upstream's label losses of the logits of B images."""

    def init_classifier(self, scheme: dict | Scheme) -> None:
        """Choose the distillation loss and set up co-training."""
        self._activations = activations(self.label_loss)
        name = type(self.label_loss).__name__
        self.init_co_training(scheme, self._activations, f'the label loss {name}')

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of all views with the current label loss.

        MMPretrain's ``SwitchRecipeHook`` replaces it during training. Raises a
        ``ValueError`` if the scheme's distillation loss does not fit the new one.
        """
        now = activations(self.label_loss)
        if now != self._activations:
            name = type(self.label_loss).__name__
            self.scheme.soft_loss.fit(now, f'the label loss {name}')
            self._activations = now
        return super().loss(inputs, data_samples)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Add up losses; log the sum as ``loss``, the head's as ``loss_label``."""
        total, values = super().parse_losses(losses)  # type: ignore[misc]
        if 'loss' in losses:  # the head's loss, logged instead of the sum
            values['loss_label'] = values['loss']
        values['loss'] = total
        return total, values

    def pass_loss(self, step: Step, data_samples: list) -> dict[str, Tensor]:
        def label_losses(z: Tensor) -> dict[str, Any]:
            return self.head_losses(z, data_samples)

        logits = self.head_logits(step.features)
        of_views = step.rows.spread(logits).chunk(len(step.views))
        losses = step.label_losses(of_views, label_losses, log=True)
        step.label_loss = lambda z: total_loss(label_losses(z))
        step.record('head', of_views)
        step.scale = self._scale(of_views[0], label_losses)
        step.factors['head'] = logits.shape[2:].numel()  # from their mean to their sum
        losses['loss_co_training'] = step.distillation('head', step.scale, log=True)
        return losses

    @torch.no_grad()
    def _scale(self, logits: Tensor, label_losses: Callable) -> Tensor | float:
        """Return the factor of the distillation loss that matches the label loss.

        It is the value of the label loss if it were 1 for every image, and for every
        class of a binary loss that is summed over classes. With class weights, it
        follows from logits of 0, whose loss is log C (binary: log 2) for any label.
        """
        loss: Any = self.label_loss
        binary = self._activations == {'sigmoid'}
        inner = getattr(loss, 'ce', loss)  # the loss inside label smoothing
        names = ('class_weight', 'pos_weight')
        if any(getattr(inner, name, None) is not None for name in names):
            dtype = torch.promote_types(logits.dtype, torch.float32)
            value = total_loss(label_losses(torch.zeros_like(logits, dtype=dtype)))
            unit = math.log(2 if binary else logits.shape[1])
            return value / (unit * logits.shape[2:].numel())
        scale = self.label_weight
        reduction = getattr(inner, 'reduction', None)
        if binary and (
            reduction == 'sum' or (reduction == 'mean' and self.sums_classes)
        ):
            scale *= logits.shape[1]
        return scale * len(logits) if reduction == 'sum' else scale

    @property
    def label_weight(self) -> float:
        return getattr(self.label_loss, 'loss_weight', 1.0)

    def view_logits(
        self, features: Any, data_samples: list, views: int
    ) -> Sequence[Tensor]:
        return self.head_logits(features).chunk(views)
