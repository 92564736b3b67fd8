"""Co-training wrappers of mmpretrain's classifiers.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``K`` logits an image and class, where
a head has several.
"""

from abc import abstractmethod
from typing import Any

import torch
from mmengine.logging import print_log
from mmpretrain.models.classifiers import ImageClassifier, TimmClassifier
from mmpretrain.models.heads import ClsHead, ConformerHead, EfficientFormerClsHead
from mmpretrain.models.heads.multi_label_cls_head import MultiLabelClsHead
from torch import Tensor, nn

from mmcosub.losses import activations
from mmcosub.registry import MODELS, SCHEMES, build
from mmcosub.schemes import Pass, Scheme

from .co_training import CoTraining
from .iteration import Iteration
from .views import loss_value, weighted_losses


class CoTrainingClassifier(CoTraining):
    """What the wrappers of classifiers share: the losses of logits."""

    _activations: set[str]
    """By what the label loss turns logits into probabilities, as the scheme knows."""

    @property
    @abstractmethod
    def label_loss(self) -> nn.Module:
        """Loss of logits and labels."""

    def init_classifier(self, scheme: dict | Scheme) -> None:
        """Compare the losses and begin co-training.

        Args:
            scheme (dict | Scheme): The scheme or its config.
        """
        self._activations = activations(self.label_loss)
        name = type(self.label_loss).__name__
        self.init_co_training(scheme, self._activations, f'the label loss {name}')
        if name == 'CrossEntropyLoss' and self._activations == {'sigmoid'}:
            print_log(
                f'{name} sums over classes, while the loss between views is a mean and '
                'so hardly counts. Use mmcosub.BinaryCrossEntropyLoss for the labels.',
                'current',
            )

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of all views, by the label loss as it is by now.

        MMPretrain's ``SwitchRecipeHook`` gives the model another one on the way.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.

        Raises:
            ValueError: If the scheme's soft loss does not go with it.
        """
        now = activations(self.label_loss)
        if now != self._activations:
            name = type(self.label_loss).__name__
            self.scheme.soft_loss.fit(now, f'the label loss {name}')
            self._activations = now
        return super().loss(inputs, data_samples)

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Add up losses; what is logged as ``loss`` is their sum.

        Args:
            losses (dict[str, Tensor]): Of one iteration; ``loss`` is the head's.

        Returns:
            tuple: The sum, and values to log, the head's loss as ``loss_label``.
        """
        total, values = super().parse_losses(losses)  # type: ignore[misc]
        if 'loss' in losses:  # it has taken the sum's place
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
        """Losses of some views, weighted.

        Args:
            iteration (Iteration): The iteration.
            done (Pass): What the pass of the V views has computed.
            logits (Tensor): Logits of shape (V * B, C) or (V * B, C, K).
            data_samples (list[DataSample]): Labels of the B images, hard or soft.
            label_loss (Callable): The stock ``label_loss(logits, data_samples)``.

        Returns:
            dict[str, Tensor]: The stock losses, combined over views,
            ``loss_co_training``, and those of further objectives.
        """
        views = done.views
        of_views = logits.chunk(len(views))
        weights = self.scheme.label_weights
        terms = {
            v: label_loss(z, data_samples)
            for v, z in zip(views, of_views, strict=True)
            if weights[v]
        }
        losses = weighted_losses(list(terms.values()), [weights[v] for v in terms])
        for v, term in terms.items():
            iteration.add(f'label_view{v}', _total(term))
        loss = iteration.teach('head', views, of_views)
        loss = loss * logits.shape[2:].numel()  # from their mean to their sum
        iteration.add('co_training', loss)
        iteration.note_agreement('head')
        losses['loss_co_training'] = loss

        done.logits['head'] = of_views
        done.label_loss = lambda z: _total(label_loss(z, data_samples))
        for objective in self.scheme.objectives:
            losses.update(objective.losses(done))
        return losses


def _total(terms: dict[str, Any]) -> Tensor:
    """The sum of a head's losses, of which it may have several."""
    return sum(loss_value(term) for key, term in terms.items() if 'loss' in key)


@MODELS.register_module()
class CoTrainingImageClassifier(CoTrainingClassifier, ImageClassifier):
    """mmpretrain's ``ImageClassifier``, trained by a scheme.

    All views share the image, its mixup or cutmix included, and the label. Parameter
    names, evaluation and inference are the stock model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``ImageClassifier``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, or
            the head's loss is not one of its logits.
    """

    def __init__(self, scheme: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_head(self.head)
        built = build(SCHEMES, scheme)
        if built.objectives and isinstance(self.head, ConformerHead):
            raise ValueError(
                'ConformerHead has two logits for every image and class, so further '
                f'objectives of {type(built).__name__} are not defined there. Set '
                'scheme.intermediate, scheme.representation and scheme.kernel to 0.'
            )
        self.init_classifier(built)

    @property
    def label_loss(self) -> nn.Module:
        """Loss of logits and labels."""
        return self.head.loss_module

    def pass_loss(
        self,
        iteration: Iteration,
        inputs: Tensor,
        data_samples: list,
        views: list[int],
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            iteration (Iteration): The iteration; views of earlier passes have run.
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.
            views (list[int]): The views.

        Returns:
            dict[str, Tensor]: The head's losses, combined over views, and
            ``loss_co_training``.
        """
        features, tapped = self.run_backbone(iteration, inputs, views)
        done = Pass(self, views, features, tapped)
        if self.with_neck:
            features = self.neck(features)
        logits = self.head(features)
        label_loss = self.head._get_loss
        if isinstance(self.head, ConformerHead):
            # One of convolutions and one of tokens, whose label losses are added up. So
            # each learns from its like of the other views, and that is added up, too.
            logits = torch.stack(logits, dim=2)
            label_loss = self._sum_of_label_losses
        return self.logit_losses(iteration, done, logits, data_samples, label_loss)

    def _sum_of_label_losses(self, logits: Tensor, data_samples: list) -> dict:
        """The stock losses of logits of shape (B, C, K)."""
        return self.head._get_loss(logits.unbind(dim=2), data_samples)


def check_head(head: Any) -> None:
    """Refuse a head of mmpretrain's without a loss of class logits.

    Args:
        head (nn.Module, optional): The classifier's head.

    Raises:
        ValueError: If there is none, or it has another loss.
    """
    if head is None:
        raise ValueError(
            'The classifier has no head, so there are no logits to teach by. Set '
            'model.head.'
        )
    if getattr(head, 'dist', False) or getattr(head, 'distillation', False):
        raise ValueError(
            f'MMPretrain does not train a distilled {type(head).__name__}. Set '
            'model.head.distillation=False.'
        )
    if isinstance(head, EfficientFormerClsHead):
        return  # then its loss is ClsHead's
    if getattr(type(head), 'loss', None) not in (ClsHead.loss, MultiLabelClsHead.loss):
        raise ValueError(
            f'The loss of {type(head).__name__} is not one of class logits, so '
            'views cannot teach each other there. Use a head with the loss of '
            'ClsHead (LinearClsHead, VisionTransformerClsHead, ...).'
        )


@MODELS.register_module()
class CoTrainingTimmClassifier(CoTrainingClassifier, TimmClassifier):
    """mmpretrain's ``TimmClassifier``, trained by a scheme.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``TimmClassifier``.

    Raises:
        ValueError: If the model has no known block, every drop-path rate is 0, or it
            is to recompute activations, which timm does around several blocks at once.
    """

    def __init__(self, scheme: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.with_cp:
            raise ValueError(
                'with_cp=True of TimmClassifier cannot be co-trained: timm recomputes '
                'several blocks at once. Set model.with_cp=False.'
            )
        self.init_classifier(scheme)

    @property
    def label_loss(self) -> nn.Module:
        """Loss of logits and labels."""
        return self.loss_module

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The timm model, its head included."""
        return self.model

    def pass_loss(
        self,
        iteration: Iteration,
        inputs: Tensor,
        data_samples: list,
        views: list[int],
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            iteration (Iteration): The iteration; views of earlier passes have run.
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.
            views (list[int]): The views.

        Returns:
            dict[str, Tensor]: ``loss`` and ``loss_co_training``.
        """
        logits, tapped = self.run_backbone(iteration, inputs, views)
        done = Pass(self, views, logits, tapped)
        return self.logit_losses(iteration, done, logits, data_samples, self._get_loss)
