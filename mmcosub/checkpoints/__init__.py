"""Checkpoints: reading, checking, converting, and loading pretrained weights."""

from mmcosub import registry  # noqa: F401  (first, as it checks the stack)

from .convert import convert_checkpoint, publish
from .formats.table import (
    Format,
    detect_format,
    known_formats,
    plain_name,
    register_format,
)
from .latest import checkpoints_in
from .overlap import load_for_prediction, load_to_train
from .pretrained import LoadReport, load_backbone
from .reading import read_checkpoint, require_file, safe_reading
from .weights import select_weights, state_dict

__all__ = [
    'Format',
    'LoadReport',
    'checkpoints_in',
    'convert_checkpoint',
    'detect_format',
    'known_formats',
    'load_backbone',
    'load_for_prediction',
    'load_to_train',
    'plain_name',
    'publish',
    'read_checkpoint',
    'register_format',
    'require_file',
    'safe_reading',
    'select_weights',
    'state_dict',
]
