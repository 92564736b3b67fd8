"""Datasets, checks of them, and synthetic data."""

from mmpretrain.datasets import CustomDataset

from mmcosub.registry import DATASETS

from .digit_scenes import DigitScenesDataset

# Name in configs and checkpoints of earlier versions.
DATASETS.register_module('ImageFolder', module=CustomDataset)

__all__ = ['DigitScenesDataset']
