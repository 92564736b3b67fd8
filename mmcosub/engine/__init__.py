"""Runners, and what turns a stock config into one for them."""

from .co_train import apply_scheme, list_schemes
from .evaluation import EvaluationRunner
from .runner import CoTrainingRunner

__all__ = ['CoTrainingRunner', 'EvaluationRunner', 'apply_scheme', 'list_schemes']
