"""Allow-list of data objects that checkpoints may contain.

A file may set any state of an object whose class PyTorch allows. The state of a NumPy
data type could make raw bytes pass for object pointers, so data types are built here
from their names alone.
"""

import argparse
import datetime
import importlib
import pickle
import re
from contextlib import AbstractContextManager
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch.serialization import get_unsafe_globals_in_checkpoint

_numpy: Any = importlib.import_module('numpy._core.multiarray')
NO_DATA = 'not plain data'
_DTYPE = re.compile(r'[<>|=]?(\?|[bBhHiIlLqQefdgFDGO]|[biufcSUOmM]\d+)(\[\d*\w+\])?')


class _DataType:
    """NumPy data type in a file, built from its name, unit and byte order alone."""

    def __init__(self, name: str, *_: Any) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise pickle.UnpicklingError(f'{NO_DATA}: a NumPy data type {name!r}')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        byte_order, unit = state[1], state[8] if len(state) > 8 else None
        if self.dtype.kind in 'mM' and unit:
            (name, count, *_) = unit[1]
            name = name.decode() if isinstance(name, bytes) else name
            self.__init__(f'{self.dtype.kind}8[{count}{name}]')  # type: ignore[misc]
        if byte_order in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(byte_order)

    def __reduce__(self) -> Any:
        return self.dtype.__reduce__()


class _Array(np.ndarray):
    """NumPy array in a file; pickled like any other."""

    def __setstate__(self, state: tuple) -> None:
        version, shape, kind, fortran, data = state
        if not isinstance(kind, _DataType):
            raise pickle.UnpicklingError(f'{NO_DATA}: a NumPy array of type {kind!r}')
        super().__setstate__((version, shape, kind.dtype, fortran, data))

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()


def _new_array(*_: Any) -> _Array:
    return np.empty(0).view(_Array)


def _scalar(kind: _DataType, data: bytes) -> Any:
    if kind.dtype.hasobject:
        raise pickle.UnpicklingError(f'{NO_DATA}: a NumPy scalar that is an object')
    return _numpy.scalar(kind.dtype, data)


class _OneCycle:
    """Functions of MMEngine's ``OneCycleLR`` that its state refers to."""

    _annealing_cos = staticmethod(OneCycleParamScheduler._annealing_cos)
    _annealing_linear = staticmethod(OneCycleParamScheduler._annealing_linear)


def _method(owner: Any, name: str) -> Any:
    """Restricted ``getattr``: what MMEngine's logged scalars and schedules need."""
    if owner not in (HistoryBuffer, _OneCycle):
        raise pickle.UnpicklingError(f'{NO_DATA}: getattr of {owner!r}')
    return getattr(owner, name)


_KNOWN: list[Any] = [
    *(_DataType, _Array, HistoryBuffer, argparse.Namespace),
    (_method, 'builtins.getattr'),
    (_OneCycle, 'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler'),
    *(datetime.date, datetime.datetime, datetime.time),
    *(datetime.timedelta, datetime.timezone),
    *(complex, set, frozenset, slice, range, bytearray),
    (_DataType, 'numpy.dtype'),
    (_new_array, 'numpy.ndarray'),
]
for _module in ('numpy._core.multiarray', 'numpy.core.multiarray'):  # of all times
    _KNOWN += [(_new_array, f'{_module}._reconstruct'), (_scalar, f'{_module}.scalar')]
for _module in ('pathlib', 'pathlib._local'):
    _KNOWN += [(Path, f'{_module}.{n}Path') for n in ('', 'Posix', 'PurePosix')]
    _KNOWN += [(PureWindowsPath, f'{_module}.{n}WindowsPath') for n in ('', 'Pure')]


def known_objects() -> AbstractContextManager:
    """Let PyTorch unpickle the allowed objects within a context."""
    return torch.serialization.safe_globals(_KNOWN)


def foreign_objects(filename: str) -> list[str]:
    """List classes and functions in a file of PyTorch that are not allowed."""
    with known_objects():
        return get_unsafe_globals_in_checkpoint(filename)
