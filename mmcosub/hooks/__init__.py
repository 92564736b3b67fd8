"""Hooks of training and testing."""

from mmcosub.resuming.checkpoint_hook import WholeCheckpointHook
from mmcosub.resuming.stopping import StopHook

from .co_training_loss_hook import CoTrainingLossHook
from .full_network_bn_hook import FullNetworkBNHook
from .nonfinite_loss_hook import NonFiniteLossHook
from .prediction_hooks import LabelMapHook, TTAVisualizationHook
from .run_facts_hook import RunFactsHook

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
