"""Classifiers of mmpretrain, timm's among them, trained by a scheme."""

from typing import Any

import torch
from mmpretrain.models.classifiers import ImageClassifier, TimmClassifier
from mmpretrain.models.heads import ClsHead, ConformerHead, EfficientFormerClsHead
from mmpretrain.models.heads.multi_label_cls_head import MultiLabelClsHead
from torch import Tensor, nn

from mmcosub.registry import MODELS, SCHEMES

from .classifiers import CoTrainingClassifier


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

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        _check_head(self.head)
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

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        unlabelled (dict, optional): Arguments of :class:`~mmcosub.schemes.Unlabelled`,
            for batches with unlabelled images. Defaults to None.
        **kwargs: Arguments of ``TimmClassifier``.

    Raises:
        ValueError: If the model has no known block, every drop-path rate is 0, or
            ``with_cp=True``, as timm checkpoints several blocks at once.
    """

    sums_classes = False

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if self.with_cp:
            raise ValueError(
                'TimmClassifier cannot be co-trained with with_cp=True: timm '
                'checkpoints several blocks at once. Set model.with_cp=False.'
            )
        self.init_classifier(scheme)
        self.init_unlabelled(unlabelled)

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


def _check_head(head: Any) -> None:
    """Raise a ``ValueError`` if a head of mmpretrain has no loss of class logits."""
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
