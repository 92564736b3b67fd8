"""Likelihood, calibration and Brier score of predicted probabilities.

Shapes: ``C`` classes, ``P`` positions: labelled pixels, or one image.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmcosub.registry import METRICS

BINS = 15
"""Bins of the calibration error, as in Guo et al., arXiv 1706.04599."""
_LEAST = 1e-12
"""Where a probability is below, its logarithm is that of this."""
_OF_MAPS = 255  # mmseg's label of pixels to leave out
_CHUNK = 2**24
"""Probabilities that are computed at a time."""


@METRICS.register_module()
class ProbabilityMetric(BaseMetric):
    """Negative log-likelihood, calibration error and Brier score of predictions.

    Of segmentors and of classifiers with one label an image:

    - ``NLL``: mean of -log p(label), in nats; the cross-entropy on these data.
    - ``ECE``: expected calibration error in percent, with 15 bins of the confidence in
      the predicted class (Guo et al., arXiv 1706.04599, eq. 3).
    - ``Brier``: mean of Σ (p - onehot(label))² over classes, from 0 to 2.

    Lower is better for all three. Processes exchange sums, never maps.

    Args:
        ignore_index (int, optional): Label of positions to leave out. Defaults to None:
            255 in label maps, none for classifiers.
        **kwargs: Arguments of MMEngine's ``BaseMetric``, such as ``prefix``.

    Example:
        >>> val_evaluator = [
        ...     dict(type='IoUMetric', iou_metrics=['mIoU']),
        ...     dict(type='mmcosub.ProbabilityMetric'),
        ... ]
    """

    def __init__(self, ignore_index: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Sum up each image; raise if one has no probabilities, or not one label."""
        for sample in data_samples:
            scores, labels, predicted = _of_sample(sample)
            maps, ignored = 'seg_logits' in sample, self.ignore_index
            if ignored is None:
                ignored = _OF_MAPS if maps else -1  # which is no label
            total = torch.zeros(3 + BINS, dtype=torch.float64)
            # A photograph of 150 classes has gigabytes of logits: not all at once.
            step = max(_CHUNK // len(scores), 1)
            whole = (
                scores.split(step, dim=1),
                labels.split(step),
                predicted.split(step),
            )
            for own, label, found in zip(*whole, strict=True):
                known = label != ignored
                own = own[:, known]
                own = as_probabilities(own) if maps else own.float()
                total += sum_positions(own, label[known], found[known])
            self.results.append(total)

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Return the metrics from the sums of each image."""
        count, nll, brier, *gaps = torch.stack(results).sum(0).tolist()
        ece = sum(map(abs, gaps)) / count if count else math.nan
        nll, brier = (of / count if count else math.nan for of in (nll, brier))
        return dict(NLL=nll, ECE=100 * ece, Brier=brier)


def _of_sample(sample: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Logits or scores (C, P), labels (P,) and predicted classes (P,) of an image."""
    if 'seg_logits' in sample and 'gt_sem_seg' in sample:
        scores = sample['seg_logits']['data'].flatten(1)
        labels = sample['gt_sem_seg']['data'].flatten()
        predicted = sample['pred_sem_seg']['data'].flatten()
    elif 'pred_score' in sample and 'gt_label' in sample:
        scores = sample['pred_score'][:, None]
        labels, predicted = sample['gt_label'], sample['pred_label']
        if len(labels) != 1 or len(predicted) != 1:
            raise ValueError(
                'ProbabilityMetric is for one label an image, but an image has '
                f'{len(labels)}. Take it out of the evaluator of multi-label data.'
            )
    else:
        raise ValueError(
            'ProbabilityMetric needs logits and a label of each image (seg_logits and '
            'gt_sem_seg of mmseg, pred_score and gt_label of mmpretrain), but a sample '
            f'has {sorted(sample)}. Take it out of the evaluator.'
        )
    device = scores.device
    return scores, labels.to(device).long(), predicted.to(device).long()


def as_probabilities(logits: Tensor) -> Tensor:
    """Return probabilities from what mmseg stores as ``seg_logits``.

    One channel is the probability of the second of two classes. A pixel has exactly one
    class, so softmax is right for heads with a sigmoid of each class, too: it is the
    probability of one class under the condition that no other one is there.
    """
    logits = logits.float()
    return torch.cat([1 - logits, logits]) if len(logits) == 1 else logits.softmax(0)


def sum_positions(probabilities: Tensor, labels: Tensor, predicted: Tensor) -> Tensor:
    """Sum up what the metrics need of C probabilities, in float64 on the CPU.

    Returns shape (3 + BINS,): number of positions, sums of negative log-likelihoods and
    of Brier scores, and for each bin of confidence that of accuracy less confidence.
    """
    true = probabilities.gather(0, labels[None])[0].cpu().double()
    confidence = probabilities.gather(0, predicted[None])[0].cpu().double()
    squares = probabilities.square().sum(0).cpu().double()
    right = (predicted == labels).cpu().double()
    bins = (confidence * BINS).long().clamp(0, BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64)
    gaps.index_add_(0, bins, right - confidence)
    nll = -true.clamp_min(_LEAST).log().sum()
    # |p - onehot|² = |p|² - 2 p(label) + 1
    brier = (squares - 2 * true + 1).sum()
    count = torch.tensor(float(len(labels)), dtype=torch.float64)
    return torch.cat([torch.stack([count, nll, brier]), gaps])
