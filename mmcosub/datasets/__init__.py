"""What mmseg's datasets lack."""

from .checks import check_segmentation_data
from .digit_scenes import DigitScenesDataset, make_scene, split_digits
from .guard import GuardedPipeline, guard

__all__ = [
    'DigitScenesDataset',
    'GuardedPipeline',
    'check_segmentation_data',
    'guard',
    'make_scene',
    'split_digits',
]
