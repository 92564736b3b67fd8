"""Co-training wrappers of mmpretrain's classifiers.

Shapes: ``V`` views, ``B`` images, ``C`` classes.
"""

from typing import Any

from mmengine.logging import print_log
from mmpretrain.models.classifiers import ImageClassifier, TimmClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.models.heads.multi_label_cls_head import MultiLabelClsHead
from torch import Tensor, nn

from mmcosub.losses import BinaryCrossEntropyLoss, soft_binary_cross_entropy
from mmcosub.registry import MODELS

from .co_training import CoTraining, weighted_losses


class CoTrainingClassifier(CoTraining):
    """What the wrappers of classifiers share: the losses of logits."""

    def logit_losses(
        self, logits: Tensor, data_samples: list, label_loss: Any, views: list[int]
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            logits (Tensor): Logits of shape (V * B, C).
            data_samples (list[DataSample]): Labels of the B images, hard or soft.
            label_loss (Callable): The stock ``label_loss(logits, data_samples)``.
            views (list[int]): The V views.

        Returns:
            dict[str, Tensor]: The stock losses, combined over views, and
            ``loss_co_training``.
        """
        of_views = dict(zip(views, logits.chunk(len(views)), strict=True))
        weights = self.scheme.label_weights
        terms = {v: label_loss(of_views[v], data_samples) for v in views if weights[v]}
        losses = weighted_losses(list(terms.values()), [weights[v] for v in terms])
        for v, term in terms.items():
            self.telemetry[f'label_view{v}'] = term['loss'].detach()
        loss = self.teaching_loss('head', views, list(of_views.values()))
        self.note('head', views, loss)
        losses['loss_co_training'] = loss

        of_stages, stage_losses = self.scheme.stage_losses(
            self,
            self.tapped,
            views,
            lambda z: label_loss(z, data_samples)['loss'],
        )
        losses.update(stage_losses)
        heads = {'head': list(of_views.values()), **of_stages}
        mutual = self.scheme.heads_loss(heads, {})
        if mutual is not None:
            losses['loss_heads'] = mutual
        return losses

    def compare_losses(self, label_loss: nn.Module) -> None:
        """Say so where the scheme's soft loss does not go with the label loss.

        Args:
            label_loss (nn.Module): Loss of logits and labels.
        """
        ours = isinstance(label_loss, BinaryCrossEntropyLoss)
        binary = ours or getattr(label_loss, 'use_sigmoid', False)
        soft_is_binary = self.scheme.soft_loss is soft_binary_cross_entropy
        if binary != soft_is_binary:
            print_log(
                f'The label loss is a {"binary" if binary else "softmax"} '
                f'cross-entropy, the one between views is not: set scheme.loss='
                f'{"bce" if binary else "ce"!r} to have both alike.',
                'current',
            )
        elif binary and not ours:
            print_log(
                f'{type(label_loss).__name__} sums over classes, while the loss '
                'between views is a mean and so hardly counts. Use '
                'mmcosub.BinaryCrossEntropyLoss for the labels.',
                'current',
            )


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
        head = self.head
        of_logits = (ClsHead.loss, MultiLabelClsHead.loss)
        if getattr(type(head), 'loss', None) not in of_logits:
            raise ValueError(
                f'The loss of {type(head).__name__} is not one of class logits, so '
                'views cannot teach each other there. Use a head with the loss of '
                'ClsHead (LinearClsHead, VisionTransformerClsHead, ...).'
            )
        self.init_co_training(scheme)
        self.compare_losses(head.loss_module)

    def pass_loss(
        self, inputs: Tensor, data_samples: list, views: list[int]
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.
            views (list[int]): The views. Those of earlier passes have run.

        Returns:
            dict[str, Tensor]: The head's losses, combined over views, and
            ``loss_co_training``.
        """
        features = self.run_backbone(inputs, views)
        penalties = self.scheme.penalties(self, features)
        if self.with_neck:
            features = self.neck(features)
        label_loss = self.head._get_loss
        logits = self.head(features)
        losses = self.logit_losses(logits, data_samples, label_loss, views)
        return {**losses, **penalties}


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
        self.init_co_training(scheme)
        self.compare_losses(self.loss_module)

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """The timm model, its head included."""
        return self.model

    def pass_loss(
        self, inputs: Tensor, data_samples: list, views: list[int]
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.
            views (list[int]): The views. Those of earlier passes have run.

        Returns:
            dict[str, Tensor]: ``loss`` and ``loss_co_training``.
        """
        logits = self.run_backbone(inputs, views)
        losses = self.logit_losses(logits, data_samples, self._get_loss, views)
        return {**losses, **self.scheme.penalties(self, logits)}
