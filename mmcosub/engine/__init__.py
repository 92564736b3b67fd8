"""Runners, and what turns a stock config into one for them."""

from importlib import import_module
from typing import Any

# Imported when first used, so that `--help` waits for neither torch nor MMEngine.
_WHERE = {
    'CoTrainingFlexibleRunner': 'flexible',
    'CoTrainingRunner': 'runner',
    'EvaluationRunner': 'evaluation',
    'apply_scheme': 'co_train',
    'list_schemes': 'schemes',
    'set_default_rate': 'default_rate',
}

__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_WHERE[name]}'), name)
