"""Formats of checkpoints: the names of weights in other libraries."""

# They fill the table, in the order of the marks that tell formats apart.
from . import beit, mit, other, resnet, swin, transformers, vit  # noqa: F401
