"""Decode heads with the parameters and outputs of mmseg's, for less work."""

from .fast_uper_head import FastUPerHead

__all__ = ['FastUPerHead']
