"""A tiny network of every known block."""

from .convolutions import CONVOLUTIONS
from .timm_networks import TIMM
from .transformers import TRANSFORMERS

TINY = {**TRANSFORMERS, **CONVOLUTIONS, **TIMM}
"""Config by name. They get a drop-path rate, unless they say `drop_path_rate=None`."""
