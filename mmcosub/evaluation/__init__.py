"""Metrics for validation."""

from .probability_metric import ProbabilityMetric

__all__ = ['ProbabilityMetric']
