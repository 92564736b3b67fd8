"""Formats of checkpoints: the names of weights in other libraries."""

from . import beit, convolutional, mit, swin, vit
from .table import register_format

# The first whose marks fit is taken: BEiT's before ViT's, which share some.
for _module in (beit, mit, convolutional, swin, vit):
    for _format in _module.FORMATS:
        register_format(_format)
