"""Predictions of upstream models as probabilities.

Shapes: ``C`` classes, ``...`` positions: height and width, or none for a classifier.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.evaluation.probability_metric import as_probabilities
from mmcosub.models.segmentor_heads import classifies_masks


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
