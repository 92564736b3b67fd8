"""Report page on training runs: logs, predictions and how they were started."""

from .page import make_report

__all__ = ['make_report']
