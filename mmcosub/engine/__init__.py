"""Runners, and what turns a stock config into one for them."""

from .co_train import apply_scheme, list_schemes
from .evaluation import EvaluationRunner
from .flexible import CoTrainingFlexibleRunner
from .runner import CoTrainingRunner

__all__ = [
    'CoTrainingFlexibleRunner',
    'CoTrainingRunner',
    'EvaluationRunner',
    'apply_scheme',
    'list_schemes',
]
