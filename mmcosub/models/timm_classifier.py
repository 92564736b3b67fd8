"""timm's classifiers, trained by a scheme."""

from typing import Any

from mmpretrain.models.classifiers import TimmClassifier
from torch import Tensor, nn

from mmcosub.registry import MODELS
from mmcosub.schemes import Iteration, Pass

from .classifiers import CoTrainingClassifier


@MODELS.register_module()
class CoTrainingTimmClassifier(CoTrainingClassifier, TimmClassifier):
    """mmpretrain's ``TimmClassifier``, trained by a scheme.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``TimmClassifier``.

    Raises:
        ValueError: If the model has no known block, every drop-path rate is 0, or
            ``with_cp=True``, as timm checkpoints several blocks at once.
    """

    sums_classes = False

    def __init__(self, scheme: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.with_cp:
            raise ValueError(
                'TimmClassifier cannot be co-trained with with_cp=True: timm '
                'checkpoints several blocks at once. Set model.with_cp=False.'
            )
        self.init_classifier(scheme)

    @property
    def label_loss(self) -> nn.Module:
        """Loss of logits and labels."""
        return self.loss_module

    @property
    def backbone(self) -> nn.Module:  # type: ignore[override]
        """Whole timm model, head included."""
        return self.model

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
            dict[str, Tensor]: ``loss`` and ``loss_co_training``.
        """
        logits, tapped = self.run_backbone(iteration, inputs, views)
        done = Pass(self, views, logits, tapped)
        return self.logit_losses(iteration, done, logits, data_samples, self._get_loss)
