"""Hooks."""

from .co_training_loss_hook import CoTrainingLossHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .tta_visualization_hook import TTAVisualizationHook

__all__ = ['CoTrainingLossHook', 'NonFiniteLossHook', 'TTAVisualizationHook']
