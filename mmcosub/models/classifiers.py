"""Co-training wrapper of mmpretrain's classifier.

Shapes: ``V`` views, ``B`` images, ``C`` classes.
"""

from typing import Any

from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ClsHead
from torch import Tensor

from mmcosub.registry import MODELS

from .co_training import CoTraining, weighted_losses


@MODELS.register_module()
class CoTrainingImageClassifier(CoTraining, ImageClassifier):
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
        if getattr(type(head), 'loss', None) is not ClsHead.loss:
            raise ValueError(
                f'The loss of {type(head).__name__} is not one of class logits, so '
                'views cannot teach each other there. Use a head with the loss of '
                'ClsHead (LinearClsHead, VisionTransformerClsHead, ...).'
            )
        self.init_co_training(scheme)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of all views and of what they teach each other.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[DataSample]): Their labels, hard or soft.

        Returns:
            dict[str, Tensor]: The head's losses, combined over views, and
            ``loss_co_training``.
        """
        features = self.run_backbone(inputs)
        if self.with_neck:
            features = self.neck(features)
        logits = self.head(features).chunk(self.scheme.views)
        weights = self.scheme.label_weights
        seeing = [v for v, weight in enumerate(weights) if weight]
        terms = [self.head._get_loss(logits[v], data_samples) for v in seeing]
        losses = weighted_losses(terms, [weights[v] for v in seeing])
        losses['loss_co_training'] = self.scheme.co_training_loss(logits)
        for v, term in zip(seeing, terms, strict=True):
            self.telemetry[f'label_view{v}'] = term['loss'].detach()
        self.telemetry['co_training'] = losses['loss_co_training'].detach()
        self._note_agreement(logits)
        return losses
