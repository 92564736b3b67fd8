"""Submodels as an ensemble: probability metrics and disagreement.

Shapes: ``C`` classes, ``...`` positions: the pixels of an image, or none for a
classifier; ``L`` branches, ``K`` submodels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from scipy.stats import spearmanr
from torch import Tensor

from mmcosub.evaluation.probability_metric import BINS, mean_metrics, sum_positions
from mmcosub.submodels import Site

from .network import Factors
from .predictions import (
    SCORES,
    Ensemble,
    check_probabilities,
    entropy,
    ignored_label,
    labels_of,
    predict_submodels,
    predicted_classes,
    probabilities_of,
    threshold_of,
)


class ProbabilityScores:
    """Accuracy, NLL, calibration error and mean IoU, accumulated image by image."""

    def __init__(
        self, classes: int, ignored: int = 255, threshold: float | None = None
    ) -> None:
        self.classes = classes
        self.ignored = ignored
        self.threshold = threshold
        self.sums = torch.zeros(4 + BINS, dtype=torch.float64)
        self.areas = torch.zeros(4, classes, dtype=torch.float64)

    def add(self, probabilities: Tensor, labels: Tensor | None) -> float | None:
        """Add the probabilities (C, ...) and labels (...) of an image.

        Returns the fraction of wrong labelled positions; None without labels.
        """
        if labels is None or (labels == self.ignored).all():
            return None
        labels = labels.to(probabilities.device)
        known = labels != self.ignored
        found, labels = probabilities[:, known].flatten(1), labels[known].long()
        predicted = predicted_classes(found, self.threshold)
        sums = sum_positions(found, labels, predicted)
        self.sums += sums
        both = (predicted.cpu(), labels.cpu(), self.classes, self.ignored)
        self.areas += torch.stack(IoUMetric.intersect_and_union(*both))
        return 1 - float(sums[1] / sums[0])

    def result(self) -> dict[str, float]:
        """Return the metrics of :func:`mean_metrics`, and ``mIoU`` in percent.

        mIoU is over classes that are labelled or predicted somewhere.
        """
        iou = (self.areas[0] / self.areas[1]).nanmean()
        return dict(mean_metrics(self.sums), mIoU=100 * float(iou))


class SubmodelEnsemble:
    """Comparison of the full network with the mean of its submodels.

    All images use the same K submodels, so the mean is a single predictor.
    """

    def __init__(
        self, model: Any, classes: int, factors: Factors, sites: Sequence[Site]
    ) -> None:
        check_probabilities(model)
        self.model = model
        self.factors = factors
        self.sites = sites
        self.threshold = threshold_of(model)
        counted = (classes, ignored_label(model), self.threshold)
        self.full, self.mean = (ProbabilityScores(*counted) for _ in range(2))
        self.each = [ProbabilityScores(*counted) for _ in factors]
        self.rows: list[dict[str, Any]] = []

    @torch.inference_mode()
    def add(
        self, batch: Any, draw: Callable[[Any, Ensemble], object] | None = None
    ) -> int:
        """Predict a batch by the full network and every submodel; return its size.

        ``draw`` is given each sample and its ensemble.
        """
        samples = self.model.test_step(batch)
        # Copy now, as later predictions may reuse these objects.
        full = [probabilities_of(sample) for sample in samples]
        labels = [labels_of(sample) for sample in samples]
        ensembles = [Ensemble(self.threshold) for _ in samples]
        found = predict_submodels(self.model, self.sites, self.factors, batch)
        for scores, predictions in zip(self.each, found, strict=True):
            for one, label, ensemble in zip(
                predictions, labels, ensembles, strict=True
            ):
                ensemble.add(probabilities_of(one))
                scores.add(probabilities_of(one), label)
        for sample, whole, label, ensemble in zip(
            samples, full, labels, ensembles, strict=True
        ):
            self.mean.add(ensemble.mean, label)
            self.rows.append(
                dict(
                    image=str(sample.get('img_path', len(self.rows))),
                    **ensemble.scores(),
                    entropy_of_full=float(entropy(whole).mean()),
                    wrong_of_full=self.full.add(whole, label),
                )
            )
            if draw is not None:
                draw(sample, ensemble)
        return len(samples)

    def ranking(self, score: str) -> list[dict[str, Any]]:
        """Return a row for each image, the most uncertain by a score first."""
        check_ranking(score, len(self.factors))
        rows = sorted(self.rows, key=lambda row: -row[score])
        return [dict(rank=i + 1, **row) for i, row in enumerate(rows)]

    def result(self) -> dict[str, Any]:
        """Return metrics, and how well each score finds errors; empty without labels.

        ``one_submodel`` is averaged over the submodels.
        """
        if not self.full.sums[0]:
            return {}
        each = [self._of(scores) for scores in self.each]
        one = {k: float(np.mean([r[k] for r in each])) for k in each[0]}
        rows = [row for row in self.rows if row['wrong_of_full'] is not None]
        wrong = [row['wrong_of_full'] for row in rows]
        found = {
            key: finds_errors([row[key] for row in rows], wrong)
            for key in (*SCORES, 'entropy_of_full')
        }
        full, mean = self._of(self.full), self._of(self.mean)
        return dict(full=full, mean=mean, one_submodel=one, finds_errors=found)

    def _of(self, scores: ProbabilityScores) -> dict[str, float]:
        result = scores.result()
        if not hasattr(self.model, 'decode_head'):
            del result['mIoU']
        return result


def check_ranking(score: str, count: int) -> None:
    """Raise ValueError if the score to rank by is 0 for every image."""
    if count == 1 and score != 'entropy':
        raise ValueError(
            f'-k 1: one submodel cannot disagree with itself, so --rank {score} is 0 '
            'for every image. Take -k 2 or more, or --rank entropy.'
        )


def finds_errors(
    scores: Sequence[float], wrong: Sequence[float]
) -> dict[str, float | None]:
    """Measure how well a score ranks wrongly predicted images first.

    ``wrong_in_first_fifth`` is the mean error of the fifth of the images with the
    largest scores, ``wrong`` that of all, in percent; ``rank_correlation`` is
    Spearman's, None if either is constant.
    """
    order = np.argsort(scores)[::-1]
    first = np.array(wrong)[order[: max(len(order) // 5, 1)]]
    varies = len(set(scores)) > 1 and len(set(wrong)) > 1
    return dict(
        wrong_in_first_fifth=100 * float(first.mean()),
        wrong=100 * float(np.mean(wrong)),
        rank_correlation=float(spearmanr(scores, wrong).statistic) if varies else None,
    )
