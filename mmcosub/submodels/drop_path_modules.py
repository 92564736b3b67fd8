"""Recognition of DropPath modules of any library by their behaviour, and of dropout."""

import copy
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

# Attributes of the rate: in timm, mmcv and transformers; in torchvision; in others.
_RATES = ('drop_prob', 'p', 'drop_path_prob', 'drop_path_rate', 'drop_rate', 'prob',
          'rate')  # fmt: skip
_KNOWN: dict[type, bool] = {}

# timm's dropout modules and the attributes of their rates.
_DROPOUTS = {
    'PatchDropout': 'prob',
    'PatchDropoutWithIndices': 'prob',
    'DropBlock2d': 'drop_prob',
}


def is_drop_path(module: nn.Module) -> bool:
    """Return True if a module drops whole rows in training alone, whatever its name.

    Each class is tested once, on a copy.
    """
    cls = type(module)
    if cls not in _KNOWN:
        _KNOWN[cls] = _rate_name(module) is not None and _drops_rows(module)
    return _KNOWN[cls]


def drop_path_rate(module: Any) -> float:
    """Return the rate of a DropPath module, or 0 for anything else."""
    rate = getattr(module, 'drop_prob', None)
    if not rate and isinstance(module, nn.Module) and is_drop_path(module):
        rate = getattr(module, str(_rate_name(module)))
    return float(rate or 0.0)


def _rate_name(module: nn.Module) -> str | None:
    own = vars(module)
    if own['_modules'] or own['_parameters']:
        return None
    return next((name for name in _RATES if name in own), None)


def _drops_rows(module: nn.Module) -> bool:
    probe: Any = copy.copy(module)
    setattr(probe, str(_rate_name(module)), 0.5)
    ones = torch.ones(64, 2, 2, 2, device='cpu')
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            probe.training = True
            rows = probe(ones.clone()).flatten(1)
            probe.training = False
            unchanged = torch.equal(probe(ones.clone()), ones)
    except Exception:  # any error of a module with another signature
        return False
    found = set(rows[:, 0].tolist())
    # A single value for all rows: torchvision's mode 'batch'.
    dropped = found in ({0.0, 2.0}, {0.0, 1.0}, {0.0}, {2.0})
    return unchanged and dropped and bool((rows == rows[:, :1]).all())


@cache  # called in every step
def dropout_rate_name(cls: Any) -> str:
    """Return the attribute of the rate in a class of dropout; '' for others."""
    return 'p' if issubclass(cls, _DropoutNd) else _DROPOUTS.get(cls.__name__, '')


def is_dropout(module: Any) -> bool:
    """Return True for dropout of PyTorch or timm, of elements, patches or areas."""
    return bool(dropout_rate_name(module.__class__))
