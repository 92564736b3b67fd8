"""Segmentors and classifiers as files that run without their packages."""

from .exporting import Exported, export
from .formats import SUFFIXES, load

__all__ = ['SUFFIXES', 'Exported', 'export', 'load']
