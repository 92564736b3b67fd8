"""Segmentors and classifiers as files that run without their packages."""

from .exporting import Exported, export
from .formats import FORMATS

__all__ = ['FORMATS', 'Exported', 'export']
