"""Base of the co-training wrappers of mmpretrain's classifiers.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``K`` logits per image and class, for
heads with several.
"""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.losses import activations
from mmcosub.schemes import Iteration, Pass, Scheme

from .co_training import CoTraining
from .views import loss_value, weighted_losses


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

    def init_classifier(self, scheme: dict | Scheme) -> None:
        """Choose the distillation loss and set up co-training.

        Args:
            scheme (dict | Scheme): The scheme or its config.
        """
        self._activations = activations(self.label_loss)
        name = type(self.label_loss).__name__
        self.init_co_training(scheme, self._activations, f'the label loss {name}')

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of all views with the current label loss.

        MMPretrain's ``SwitchRecipeHook`` replaces the label loss during training.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.

        Raises:
            ValueError: If the scheme's distillation loss does not fit the label loss.
        """
        now = activations(self.label_loss)
        if now != self._activations:
            name = type(self.label_loss).__name__
            self.scheme.soft_loss.fit(now, f'the label loss {name}')
            self._activations = now
        return super().loss(inputs, data_samples)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Add up losses, and log their sum as ``loss``.

        Args:
            losses (dict[str, Tensor]): Of one iteration; ``loss`` is the head's.

        Returns:
            tuple: The sum, and values to log, with the head's loss as ``loss_label``.
        """
        total, values = super().parse_losses(losses)  # type: ignore[misc]
        if 'loss' in losses:  # the head's loss, logged instead of the sum
            values['loss_label'] = values['loss']
        values['loss'] = total
        return total, values

    def logit_losses(
        self,
        iteration: Iteration,
        done: Pass,
        logits: Tensor,
        data_samples: list,
        label_loss: Any,
    ) -> dict[str, Tensor]:
        """Return the weighted losses of some views.

        Args:
            iteration (Iteration): The iteration.
            done (Pass): Results of the pass of the V views.
            logits (Tensor): Logits of shape (V * B, C) or (V * B, C, K), or of the rows
                that are computed.
            data_samples (list[DataSample]): Labels of the B images, hard or soft.
            label_loss (Callable): Upstream's ``label_loss(logits, data_samples)``.

        Returns:
            dict[str, Tensor]: The upstream losses, combined over views,
            ``loss_co_training``, and those of additional objectives.
        """
        views = done.views
        of_views = iteration.rows.spread(logits).chunk(len(views))
        weights = self.scheme.label_weights
        terms = {
            v: label_loss(z, data_samples)
            for v, z in zip(views, of_views, strict=True)
            if weights[v]
        }
        losses = weighted_losses(list(terms.values()), [weights[v] for v in terms])
        for v, term in terms.items():
            iteration.add(f'label_view{v}', _total(term))
        done.scale = self._scale(of_views[0], data_samples, label_loss)
        loss = iteration.teach('head', views, of_views) * done.scale
        loss = loss * logits.shape[2:].numel()  # from their mean to their sum
        iteration.add('co_training', loss)
        iteration.note_agreement('head')
        losses['loss_co_training'] = loss

        done.logits['head'] = of_views
        done.label_loss = lambda z: _total(label_loss(z, data_samples))
        for objective in self.scheme.objectives:
            losses.update(objective.losses(done))
        return losses

    @torch.no_grad()
    def _scale(
        self, logits: Tensor, data_samples: list, label_loss: Any
    ) -> Tensor | float:
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
            value = _total(
                label_loss(torch.zeros_like(logits, dtype=dtype), data_samples)
            )
            unit = math.log(2 if binary else logits.shape[1])
            return value / (unit * logits.shape[2:].numel())
        scale = getattr(loss, 'loss_weight', 1.0)
        reduction = getattr(inner, 'reduction', None)
        if binary and (
            reduction == 'sum' or (reduction == 'mean' and self.sums_classes)
        ):
            scale *= logits.shape[1]
        return scale * len(logits) if reduction == 'sum' else scale


def _total(terms: dict[str, Any]) -> Tensor:
    """Return the sum of a head's losses."""
    return sum(loss_value(term) for key, term in terms.items() if 'loss' in key)
