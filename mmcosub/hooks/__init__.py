"""Hooks."""

from .co_training_loss_hook import CoTrainingLossHook
from .full_network_bn_hook import FullNetworkBNHook
from .label_map_hook import LabelMapHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .run_facts_hook import RunFactsHook
from .stop_hook import StopHook
from .tta_visualization_hook import TTAVisualizationHook
from .whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    'CoTrainingLossHook',
    'FullNetworkBNHook',
    'LabelMapHook',
    'NonFiniteLossHook',
    'RunFactsHook',
    'StopHook',
    'TTAVisualizationHook',
    'WholeCheckpointHook',
]
