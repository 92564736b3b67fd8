"""Checkpoints: opening, judging, translating and carrying them over."""

from mmcosub import registry  # noqa: F401  (first, as it checks the stack)

from . import (  # noqa: F401  (they fill the table, in the order of the marks)
    beit_formats,
    mit_formats,
    other_formats,
    resnet_formats,
    swin_formats,
    transformers_formats,
    vit_formats,
)
from .carry_over import CarryOver, load_backbone
from .convert import convert_checkpoint
from .formats import (
    Format,
    detect_format,
    known_formats,
    plain_name,
    register_format,
)
from .latest import checkpoints_in
from .overlap import check_overlap, load_for_prediction, load_to_train
from .reading import read_checkpoint, read_weights, require_file, safe_reading
from .weights import select_weights, state_dict

__all__ = [
    'CarryOver',
    'Format',
    'check_overlap',
    'checkpoints_in',
    'convert_checkpoint',
    'detect_format',
    'known_formats',
    'load_backbone',
    'load_for_prediction',
    'load_to_train',
    'plain_name',
    'read_checkpoint',
    'read_weights',
    'register_format',
    'require_file',
    'safe_reading',
    'select_weights',
    'state_dict',
]
