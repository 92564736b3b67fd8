"""Hooks."""

from .co_training_loss_hook import CoTrainingLossHook
from .full_network_bn_hook import FullNetworkBNHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .tta_visualization_hook import TTAVisualizationHook

__all__ = [
    'CoTrainingLossHook',
    'FullNetworkBNHook',
    'NonFiniteLossHook',
    'TTAVisualizationHook',
]
