"""A tiny network of every known block."""

from .convolutions import CONVOLUTIONS
from .timm_built import TIMM_BUILT
from .timm_networks import TIMM
from .transformers import TRANSFORMERS

TINY = {**TRANSFORMERS, **CONVOLUTIONS, **TIMM, **TIMM_BUILT}
"""Config by name. They get a drop-path rate, unless they say `drop_path_rate=None`."""

DROP_TWICE = {
    'mmpretrain BEiT',
    'mmpretrain BEiT, shared positions',
    'mmpretrain Twins-PCPVT',
    'mmpretrain Twins-SVT',
    'mmseg Twins-PCPVT',
    'mmseg Twins-SVT',
}
"""Networks with two drop paths on one branch, one of which is known."""

NEVER_DROP = {'mmpretrain Res2Net', 'mmpretrain ResNeSt', 'mmpretrain SE-ResNet'}
"""Networks that take a rate and do not use it."""
