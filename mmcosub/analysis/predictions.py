"""Predictions of upstream models and their submodels as probabilities.

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
            'Set model.backbone.drop_path_rate or, if the config has a scheme, '
            'scheme.drop_path_rate to that of training, with --cfg-options.'
        )
    return rates


def draw_factors(rates: NDArray[np.float64], count: int, seed: int) -> Factors:
    """Draw K submodels as in training: kept branches scale by 1 / (1 - rate)."""
    keep = BernoulliSampler()(rates, count, plan_generator(seed, 0))
    return (keep / (1 - rates)[:, None]).T
