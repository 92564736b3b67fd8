"""Classifiers of mmpretrain, timm's among them, trained by a scheme.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``K`` logits per image and class, for
heads with several.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier, TimmClassifier
from mmpretrain.models.heads import ClsHead, ConformerHead, EfficientFormerClsHead
from mmpretrain.models.heads.multi_label_cls_head import MultiLabelClsHead
from torch import Tensor, nn

from mmcosub.losses import activations
from mmcosub.registry import MODELS, SCHEMES
from mmcosub.schemes import Scheme, Step
from mmcosub.schemes.step import total_loss

from .co_training import CoTraining


class CoTrainingClassifier(CoTraining):
    """Loss of a co-trained classifier; evaluation is the upstream model's."""

    sums_classes = True
    """If True, a binary label loss is summed over classes, as in mmpretrain's heads."""

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        built = SCHEMES.build(scheme)
        self.check_head(built)
        self.init_co_training(built, activations(self.label_loss), self._where())
        self.init_unlabelled(unlabelled)

    def check_head(self, scheme: Scheme) -> None:
        """Raise a ``ValueError`` if the head has no class logits for the scheme."""

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

    def _where(self) -> str:
        return f'the label loss {type(self.label_loss).__name__}'

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the losses of all views; see :class:`SubmodelTraining`."""
        # MMPretrain's SwitchRecipeHook replaces the label loss during training.
        self.scheme.soft_loss.fit(activations(self.label_loss), self._where())
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

        It is the label loss if it were 1 everywhere. With class weights, it follows
        from logits of 0, whose loss is log C (binary: log 2) for any label.
        """
        loss: Any = self.label_loss
        binary = activations(loss) == {'sigmoid'}
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


@MODELS.register_module()
class CoTrainingImageClassifier(CoTrainingClassifier, ImageClassifier):
    """mmpretrain's ``ImageClassifier``, trained by a scheme.

    All views get the same image, after mixup or cutmix, and the same label. Parameter
    names, evaluation and inference are the upstream model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        unlabelled (dict, optional): Arguments of :class:`~mmcosub.schemes.Unlabelled`,
            for batches with unlabelled images. Defaults to None.
        **kwargs: Arguments of ``ImageClassifier``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, or
            the head's loss is not a loss of class logits.
    """

    def check_head(self, scheme: Scheme) -> None:
        head: Any = self.head
        if getattr(head, 'dist', False) or getattr(head, 'distillation', False):
            raise ValueError(
                f'MMPretrain does not train a distilled {type(head).__name__}. Set '
                'model.head.distillation=False.'
            )
        original = ClsHead.loss, MultiLabelClsHead.loss
        # EfficientFormer's is ClsHead's, without distillation.
        known = isinstance(head, EfficientFormerClsHead)
        if not known and getattr(type(head), 'loss', None) not in original:
            raise ValueError(
                f'model.head={type(head).__name__} has no loss of class logits, which '
                'distillation between views needs. Use a head with the loss of ClsHead '
                '(LinearClsHead, VisionTransformerClsHead, ...).'
            )
        if scheme.objectives and isinstance(head, ConformerHead):
            raise ValueError(
                'ConformerHead has two logits for every image and class, so additional '
                f'objectives of {type(scheme).__name__} are not defined for it. Set '
                'scheme.intermediate, scheme.representation and scheme.kernel to 0.'
            )

    @property
    def label_loss(self) -> nn.Module:
        return self.head.loss_module

    def head_logits(self, features: Any) -> Tensor:
        logits = self.head(self.neck(features) if self.with_neck else features)
        # Conformer has two, of convolutions and of tokens. Label losses add up both,
        # and so does distillation, of each from its counterpart in the other view.
        two = isinstance(self.head, ConformerHead)
        return torch.stack(logits, dim=2) if two else logits

    def head_losses(self, logits: Tensor, data_samples: list) -> dict[str, Any]:
        two = isinstance(self.head, ConformerHead)
        return self.head._get_loss(
            logits.unbind(dim=2) if two else logits, data_samples
        )


@MODELS.register_module()
class CoTrainingTimmClassifier(CoTrainingClassifier, TimmClassifier):
    """mmpretrain's ``TimmClassifier``, trained by a scheme.

    Arguments are those of :class:`CoTrainingImageClassifier`, with those of
    ``TimmClassifier``.

    Raises:
        ValueError: If the model has no known block or every drop-path rate is 0.
    """

    sums_classes = False

    @property
    def label_loss(self) -> nn.Module:
        return self.loss_module

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """Whole timm model, head included."""
        return self.model

    def head_logits(self, features: Any) -> Tensor:
        return features

    def head_losses(self, logits: Tensor, data_samples: list) -> dict[str, Any]:
        return self._get_loss(logits, data_samples)
