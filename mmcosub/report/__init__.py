"""One page about some runs: what they logged and predict, and how they came about."""

from .make import make_report

__all__ = ['make_report']
