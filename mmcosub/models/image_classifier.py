"""mmpretrain's own classifiers, trained by a scheme."""

from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ClsHead, ConformerHead, EfficientFormerClsHead
from mmpretrain.models.heads.multi_label_cls_head import MultiLabelClsHead
from torch import Tensor, nn

from mmcosub.registry import MODELS, SCHEMES
from mmcosub.schemes import Iteration, Pass

from .classifiers import CoTrainingClassifier


@MODELS.register_module()
class CoTrainingImageClassifier(CoTrainingClassifier, ImageClassifier):
    """mmpretrain's ``ImageClassifier``, trained by a scheme.

    All views get the same image, after mixup or cutmix, and the same label. Parameter
    names, evaluation and inference are the upstream model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``ImageClassifier``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, or
            the head's loss is not a loss of class logits.
    """

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_head(self.head)
        built = SCHEMES.build(scheme)
        if built.objectives and isinstance(self.head, ConformerHead):
            raise ValueError(
                'ConformerHead has two logits for every image and class, so additional '
                f'objectives of {type(built).__name__} are not defined for it. Set '
                'scheme.intermediate, scheme.representation and scheme.kernel to 0.'
            )
        self.init_classifier(built)
        self.init_unlabelled(unlabelled)

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
        """Return the weighted losses of some views.

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
            # Two logits, of convolutions and of tokens. Label losses add up both, and
            # so does distillation, of each from its counterpart in the other view.
            logits = torch.stack(logits, dim=2)
            label_loss = self._sum_of_label_losses
        return self.logit_losses(iteration, done, logits, data_samples, label_loss)

    def _sum_of_label_losses(self, logits: Tensor, data_samples: list) -> dict:
        """Return the upstream losses of logits of shape (B, C, K)."""
        return self.head._get_loss(logits.unbind(dim=2), data_samples)


def check_head(head: Any) -> None:
    """Raise if a head of mmpretrain has no loss of class logits.

    Args:
        head (nn.Module, optional): The classifier's head.

    Raises:
        ValueError: If there is none, or it has another loss.
    """
    if head is None:
        raise ValueError(
            'The classifier has no head, so there are no logits for distillation. Set '
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
            f'The loss of {type(head).__name__} is not a loss of class logits, which '
            'distillation between views needs. Use a head with the loss of ClsHead '
            '(LinearClsHead, VisionTransformerClsHead, ...).'
        )
