"""Datasets, checks of them, and synthetic data."""

from mmpretrain.datasets import CustomDataset

from mmcosub.registry import DATASETS

from .checks import check_segmentation_data
from .digit_scenes import DigitScenesDataset, make_digit, make_scene, split_digits
from .guard import BadSamples, GuardedPipeline, guard

# Name in configs and checkpoints of earlier versions.
DATASETS.register_module('ImageFolder', module=CustomDataset)

__all__ = [
    'BadSamples',
    'DigitScenesDataset',
    'GuardedPipeline',
    'check_segmentation_data',
    'guard',
    'make_digit',
    'make_scene',
    'split_digits',
]
