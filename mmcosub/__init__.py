"""Submodel co-training for PyTorch, MMSegmentation and MMPretrain."""

from importlib import import_module
from typing import Any

__version__ = '0.3.0'

# Imported when first used, so that `import mmcosub` imports not even torch.
_WHERE = {
    'CoTrainer': 'mmcosub.co_trainer',
    'CoTrainingFlexibleRunner': 'mmcosub.engine',
    'CoTrainingRunner': 'mmcosub.engine',
    'ProbabilityMetric': 'mmcosub.evaluation',
}

__all__ = ['__version__', *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
