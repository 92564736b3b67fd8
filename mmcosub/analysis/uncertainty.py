"""Submodels as an ensemble: probability metrics and disagreement.

Shapes: ``L`` branches, ``K`` submodels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mmcosub.submodels import Site

from .calibration import ProbabilityScores
from .disagreement import SCORES, Ensemble, entropy
from .network import backbone_of
from .predictions import (
    check_probabilities,
    ignored_label,
    labels_of,
    probabilities_of,
    threshold_of,
)
from .submodel import as_submodel

Draw = Callable[[Any, Ensemble], object]
"""Function that draws an image, given its sample and submodel predictions."""


class SubmodelEnsemble:
    """Comparison of the full network with the mean of its submodels.

    All images use the same K submodels, so the mean is a single predictor and rows are
    independent.

    Args:
        model (nn.Module): A segmentor or classifier, with its weights.
        classes (int): Number of classes.
        factors (ndarray): Factor of every branch, of shape (K, L).
        sites (Sequence[Site]): The backbone's branches.
    """

    def __init__(
        self,
        model: Any,
        classes: int,
        factors: NDArray[np.float64],
        sites: Sequence[Site],
    ) -> None:
        check_probabilities(model)
        self.model = model
        self.backbone = backbone_of(model)
        self.factors = factors
        self.sites = sites
        self.threshold = threshold_of(model)
        counted = (classes, ignored_label(model), self.threshold)
        self.full, self.mean = (
            ProbabilityScores(*counted),
            ProbabilityScores(*counted),
        )
        self.each = [ProbabilityScores(*counted) for _ in factors]
        self.rows: list[dict[str, Any]] = []

    @torch.inference_mode()
    def add(self, batch: Any, draw: Draw | None = None) -> int:
        """Predict a batch by the full network and by every submodel.

        Args:
            batch (dict): A batch of a test loader.
            draw (Callable, optional): Draws each image. Defaults to None.

        Returns:
            int: Number of images.
        """
        samples = self.model.test_step(batch)
        # Copy now, as later predictions may reuse these objects.
        full = [probabilities_of(sample) for sample in samples]
        labels = [labels_of(sample) for sample in samples]
        ensembles = [Ensemble(self.threshold) for _ in samples]
        for quality, factors in zip(self.each, self.factors, strict=True):
            with as_submodel(self.backbone, self.sites, factors):
                predictions = self.model.test_step(batch)
            for i, sample in enumerate(predictions):
                probabilities = probabilities_of(sample)
                ensembles[i].add(probabilities)
                quality.add(probabilities, labels[i])
        for i, sample in enumerate(samples):
            row: dict[str, Any] = dict(
                image=str(sample.get('img_path', len(self.rows)))
            )
            row.update(ensembles[i].scores())
            row['entropy_of_full'] = float(entropy(full[i]).mean())
            row['wrong_of_full'] = self.full.add(full[i], labels[i])
            self.mean.add(ensembles[i].mean, labels[i])
            self.rows.append(row)
            if draw is not None:
                draw(sample, ensembles[i])
        return len(samples)

    def ranking(self, score: str) -> list[dict[str, Any]]:
        """Return the images, the most uncertain first.

        Args:
            score (str): One of ``SCORES``.

        Returns:
            list[dict]: A row for each image.

        Raises:
            ValueError: If there is a single submodel and the score needs several.
        """
        check_ranking(score, len(self.factors))
        rows = sorted(self.rows, key=lambda row: -row[score])
        return [dict(rank=i + 1, **row) for i, row in enumerate(rows)]

    def result(self) -> dict[str, Any]:
        """Return the probability metrics, and how well scores rank errors.

        Returns:
            dict: ``full``, ``mean`` and ``one_submodel`` (averaged over submodels) with
            the metrics of :class:`ProbabilityScores`, mIoU for segmentors only;
            ``finds_errors``, for each score and the full network's entropy, see
            :func:`finds_errors`. Empty without labels.
        """
        if not self.full.sums[0]:
            return {}
        each = [self._of(quality) for quality in self.each]
        one = {k: float(np.mean([r[k] for r in each])) for k in each[0]}
        rows = [row for row in self.rows if row['wrong_of_full'] is not None]
        wrong = [row['wrong_of_full'] for row in rows]
        return dict(
            full=self._of(self.full),
            mean=self._of(self.mean),
            one_submodel=one,
            finds_errors={
                key: finds_errors([row[key] for row in rows], wrong)
                for key in (*SCORES, 'entropy_of_full')
            },
        )

    def _of(self, quality: ProbabilityScores) -> dict[str, float]:
        result = quality.result()
        if not hasattr(self.model, 'decode_head'):
            del result['mIoU']
        return result


def check_ranking(score: str, count: int) -> None:
    """Raise if the score to rank by is 0 for every image.

    Args:
        score (str): One of ``SCORES``.
        count (int): Number of submodels K.

    Raises:
        ValueError: If there is a single submodel, which cannot disagree.
    """
    if count == 1 and score != 'entropy':
        raise ValueError(
            f'-k 1: one submodel cannot disagree with itself, so --rank {score} is 0 '
            'for every image. Take -k 2 or more, or --rank entropy.'
        )


def finds_errors(
    scores: Sequence[float], wrong: Sequence[float]
) -> dict[str, float | None]:
    """Measure how well a score ranks wrongly predicted images first.

    Args:
        scores (Sequence[float]): Score of each image.
        wrong (Sequence[float]): Fraction of each image that is wrong.

    Returns:
        dict: ``wrong_in_first_fifth``, the mean error in percent of the fifth of the
        images with the largest scores; ``wrong``, that of all images;
        ``rank_correlation`` (Spearman's), None if either is constant.
    """
    order = np.argsort(scores)[::-1]
    first = np.array(wrong)[order[: max(len(order) // 5, 1)]]
    varies = len(set(scores)) > 1 and len(set(wrong)) > 1
    return dict(
        wrong_in_first_fifth=100 * float(first.mean()),
        wrong=100 * float(np.mean(wrong)),
        rank_correlation=float(spearmanr(scores, wrong).statistic) if varies else None,
    )
