"""Faster decode heads with the parameters and outputs of mmseg's."""

from .fast_fcn_head import FastFCNHead
from .fast_head import FastHead
from .fast_psp_head import FastPSPHead
from .fast_segformer_head import FastSegformerHead
from .fast_uper_head import FastUPerHead

__all__ = [
    'FastFCNHead',
    'FastHead',
    'FastPSPHead',
    'FastSegformerHead',
    'FastUPerHead',
]
