"""Probability metrics, accumulated image by image.

Shapes: ``C`` classes, ``...`` positions: the pixels of an image, or none for a
classifier.
"""

from typing import Any

import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmcosub.evaluation.probabilities import BINS, mean_metrics, sum_positions

from .predictions import predicted_classes


class ProbabilityScores:
    """Accuracy, NLL, calibration error and mean IoU of probabilities.

    Args:
        classes (int): Number of classes C.
        ignored (int): Ignored label. Defaults to 255.
        threshold (float, optional): Threshold of predictions, see :func:`threshold_of`.
            Defaults to None: the most likely class.
    """

    def __init__(
        self, classes: int, ignored: int = 255, threshold: float | None = None
    ) -> None:
        self.classes = classes
        self.ignored = ignored
        self.threshold = threshold
        self.sums = torch.zeros(4 + BINS, dtype=torch.float64)
        self.counted = 0
        self.areas = [torch.zeros(classes, dtype=torch.float64) for _ in range(4)]

    def add(self, probabilities: Tensor, labels: Tensor | None) -> float | None:
        """Add one image.

        Args:
            probabilities (Tensor): Of shape (C, ...).
            labels (Tensor, optional): Of shape (...). Without labels, the image is
                skipped.

        Returns:
            float, optional: Fraction of wrong labelled positions; None without labels.
        """
        if labels is None:
            return None
        probabilities = probabilities.reshape(len(probabilities), -1)
        labels = labels.to(probabilities.device).flatten()
        known = labels != self.ignored
        probabilities, labels = probabilities[:, known], labels[known].long()
        if not len(labels):
            return None
        predicted = predicted_classes(probabilities, self.threshold)
        sums = sum_positions(probabilities, labels, predicted)
        self.sums += sums
        self.counted += len(labels)
        predicted, labels = predicted.cpu(), labels.cpu()
        areas = IoUMetric.intersect_and_union(
            predicted, labels, self.classes, self.ignored
        )
        self.areas = [a + b.double() for a, b in zip(self.areas, areas, strict=True)]
        return 1 - float(sums[1] / sums[0])

    def result(self) -> dict[str, float]:
        """Return the metrics.

        Returns:
            dict: ``accuracy`` in percent of the positions; ``mIoU`` in percent, over
            classes that are labelled or predicted somewhere; ``nll``, the mean negative
            log-likelihood, in nats; ``brier``, the mean Brier score; ``ece``, the
            expected calibration error in percent (Guo et al., arXiv 1706.04599, eq. 3)
            of the predicted classes.
        """
        metrics: Any = IoUMetric.total_area_to_metrics(*self.areas, ['mIoU'])
        iou = 100 * float(torch.as_tensor(metrics['IoU']).nanmean())
        return dict(mean_metrics(self.sums), mIoU=iou)
