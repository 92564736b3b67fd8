"""MMCV's operators, imported where they are not compiled."""

import importlib
import sys
import types
from typing import Any


def stand_in() -> None:
    """Let heads be built that take from MMCV's operators what is Python over torch.

    To be called before MMSegmentation is imported. An operator that is called says what
    is missing.
    """
    try:
        importlib.import_module('mmcv._ext')
    except ImportError:
        module: Any = types.ModuleType('mmcv._ext')
        module.__getattr__ = lambda name: None if name[:2] == '__' else _missing
        sys.modules['mmcv._ext'] = module


def _missing(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("It needs MMCV's compiled operators")
