"""Predictions of upstream models as probabilities, and ensembles of submodels.

Shapes: ``C`` classes, ``...`` positions: height and width, or none for a classifier;
``L`` branches, ``K`` submodels.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.engine.data import classes_of
from mmcosub.evaluation.probability_metric import as_probabilities
from mmcosub.models.segmentor_heads import classifies_masks
from mmcosub.submodels import (
    BernoulliSampler,
    Site,
    are_drop_paths,
    called_drop_paths,
    find_sites,
    plan_generator,
    spread_rates,
)

from .network import Factors, as_submodel, backbone_of

SCORES = ('entropy', 'mutual_information', 'disagreement')
"""Scores of an ensemble to rank images by."""


def check_probabilities(model: Any) -> None:
    """Raise ValueError if a model's outputs are not logits of exclusive classes."""
    heads = [_last(getattr(model, name, None)) for name in ('decode_head', 'head')]
    for head in heads:
        if classifies_masks(head) or is_multi_label(head):
            raise ValueError(
                f'{type(head).__name__} gives no probabilities that sum to 1 over '
                'classes, so there is no mean and no calibration of them. Take a '
                'model with logits of each pixel or image.'
            )


def is_multi_label(head: Any) -> bool:
    """Return True if a classifier's head gives an image several classes."""
    return any('MultiLabel' in cls.__name__ for cls in type(head).__mro__)


def _last(head: Any) -> Any:
    return head[-1] if isinstance(head, nn.ModuleList) else head


def probabilities_of(sample: Any) -> Tensor:
    """Return the probabilities (C, ...) in a result of ``test_step`` for one image."""
    if 'seg_logits' in sample:
        return as_probabilities(sample.seg_logits.data)
    if 'pred_score' in sample:
        return sample.pred_score.float()
    raise ValueError(
        f'{type(sample).__name__} has neither seg_logits nor pred_score: the model is '
        'neither a segmentor nor a classifier.'
    )


def threshold_of(model: Any) -> float | None:
    """Return the threshold of a head with one output channel, else None."""
    head = _last(getattr(model, 'decode_head', None))
    return head.threshold if getattr(head, 'out_channels', None) == 1 else None


def predicted_classes(probabilities: Tensor, threshold: float | None) -> Tensor:
    """Return the classes (...) that a model predicts from probabilities (C, ...)."""
    if threshold is None:
        return probabilities.argmax(dim=0)
    return (probabilities[1] > threshold).long()


def ignored_label(model: Any) -> int:
    """Return the ``ignore_index`` of a segmentor; -1, no label, for a classifier."""
    found = classes_of(model)
    return found[1] if found else -1


def labels_of(sample: Any) -> Tensor | None:
    """Return the labels (...) in a result of ``test_step``; None without one label."""
    if 'gt_sem_seg' in sample:
        return sample.gt_sem_seg.data.squeeze(0)
    if 'gt_label' in sample and len(sample.gt_label) == 1:
        return sample.gt_label[0]
    return None


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy (...) as a fraction of that of the uniform distribution, in [0, 1]."""
    terms = torch.special.entr(probabilities)
    return terms.sum(dim=0) / math.log(len(probabilities))


def find_called_sites(model: Any, batch: Any) -> list[Site]:
    """Return a backbone's branches or, from a test batch, its drop paths as called."""
    backbone = backbone_of(model)
    sites = find_sites(backbone)
    if not are_drop_paths(sites):
        return sites
    images = model.data_preprocessor(batch, False)['inputs']
    return [*called_drop_paths(backbone, images)]


def predict_submodels(
    model: Any, sites: Sequence[Site], factors: Factors, batch: Any
) -> Iterator[list[Any]]:
    """Yield the results of ``test_step`` of each of K submodels."""
    for of_one in factors:
        with as_submodel(backbone_of(model), sites, of_one):
            results = model.test_step(batch)
        yield results


def rates_of(sites: Sequence[Site], scheme: dict) -> NDArray[np.float64]:
    """Return rates (L, ) of the scheme or the backbone; ValueError if all are 0."""
    rate = scheme.get('drop_path_rate')
    if rate is None:
        rates = np.array([site.rate for site in sites])
    else:
        decay = scheme.get('drop_path_decay', 'constant')
        rates = spread_rates(rate, [site.depth for site in sites], decay)
    if not rates.any():
        raise ValueError(
            'All drop-path rates are 0, so every submodel would be the full network. '
            'Give --drop-path-rate, such as that of training.'
        )
    return rates


def draw_factors(rates: NDArray[np.float64], count: int, seed: int) -> Factors:
    """Draw K submodels as in training: kept branches scale by 1 / (1 - rate)."""
    if count < 1:
        raise ValueError(f'-k must be 1 or more submodels, not {count}.')
    keep = BernoulliSampler()(rates, count, plan_generator(seed, 0))
    return (keep / (1 - rates)[:, None]).T


class Ensemble:
    """Running mean and disagreement of submodels' probabilities (C, ...)."""

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self.sum: Any = 0
        self.entropies: Any = 0
        self.predicted: list[Tensor] = []

    def add(self, probabilities: Tensor) -> None:
        """Add the probabilities (C, ...) of the next submodel."""
        self.sum = self.sum + probabilities
        self.entropies = self.entropies + entropy(probabilities)
        predicted = predicted_classes(probabilities, self.threshold)
        self.predicted.append(predicted.to(torch.int16))

    @property
    def mean(self) -> Tensor:
        """Mean of the probabilities, of shape (C, ...)."""
        return self.sum / len(self.predicted)

    @property
    def prediction(self) -> Tensor:
        """Classes (...) that the mean predicts."""
        return predicted_classes(self.mean, self.threshold)

    @property
    def disagreement(self) -> Tensor:
        """Fraction (...) of the submodels that predict otherwise than their mean."""
        other = torch.stack(self.predicted) != self.prediction
        return other.float().mean(dim=0)

    @property
    def mutual_information(self) -> Tensor:
        """Mean divergence (...) of the submodels from their mean, in [0, 1].

        Entropy of the mean minus mean of the entropies (BALD, Houlsby et al., arXiv
        1112.5745, eq. 2), as fractions of the largest: 0 if all submodels agree,
        however confident they are.
        """
        inside = self.entropies / len(self.predicted)
        return (entropy(self.mean) - inside).clamp_min(0)

    def scores(self) -> dict[str, float]:
        """Means of ``SCORES`` over positions; the entropy is that of the mean."""
        found = (entropy(self.mean), self.mutual_information, self.disagreement)
        return {k: float(v.mean()) for k, v in zip(SCORES, found, strict=True)}
