"""Datasets, and what mmseg's lack."""

from .bad_samples import BadSamples
from .checks import check_segmentation_data
from .digit_scenes import DigitScenesDataset, make_digit, make_scene, split_digits
from .fashion_scenes import FashionScenesDataset
from .guard import GuardedPipeline, guard
from .image_folder import ImageFolder

__all__ = [
    'BadSamples',
    'DigitScenesDataset',
    'FashionScenesDataset',
    'GuardedPipeline',
    'ImageFolder',
    'check_segmentation_data',
    'guard',
    'make_digit',
    'make_scene',
    'split_digits',
]
