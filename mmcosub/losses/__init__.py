"""Losses that mmseg and mmpretrain lack."""

from .binary_cross_entropy import BinaryCrossEntropyLoss
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
    'soft_binary_cross_entropy',
    'soft_cross_entropy',
    'soft_kl_divergence',
    'weighted_mean',
]
