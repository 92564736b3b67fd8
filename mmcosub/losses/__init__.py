"""Distillation losses, and properties of label losses."""

from .label_loss import (
    BinaryCrossEntropyLoss,
    activations,
    value_of_ones,
    weighted_terms,
)
from .soft_label import (
    SOFT_LOSSES,
    soft_binary_cross_entropy,
    soft_cross_entropy,
    soft_kl_divergence,
    weighted_mean,
)

__all__ = [
    'SOFT_LOSSES',
    'BinaryCrossEntropyLoss',
    'activations',
    'soft_binary_cross_entropy',
    'soft_cross_entropy',
    'soft_kl_divergence',
    'value_of_ones',
    'weighted_mean',
    'weighted_terms',
]
