"""Formats of checkpoints: the names of weights in other libraries."""

# Importing them fills the table; the order of their marks matters.
from . import beit, mit, other, resnet, swin, transformers, vit  # noqa: F401
