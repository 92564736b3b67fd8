"""Computations of the stock models, done for less and with the same results."""

from .can_fuse import can_fuse, has_hooks
from .fused_conv import fused_conv
from .resized_cross_entropy import resized_cross_entropy
from .soft_target_loss import soft_target_loss
from .window_attention import window_attention
from .window_layout import window_layout

__all__ = [
    'can_fuse',
    'fused_conv',
    'has_hooks',
    'resized_cross_entropy',
    'soft_target_loss',
    'window_attention',
    'window_layout',
]
