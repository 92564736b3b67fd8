"""Allow-list of data objects that checkpoints may contain.

A file may set any state of an object whose class PyTorch allows. The state of a NumPy
data type could make raw bytes pass for object pointers, so data types are built here
from their names alone.
"""

import argparse
import datetime
import importlib
import io
import pickle
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import _weights_only_unpickler

_numpy: Any = importlib.import_module('numpy._core.multiarray')
NO_DATA = 'not plain data'
_DTYPE = re.compile(r'[<>|=]?(\?|[bBhHiIlLqQefdgFDGO]|[biufcSUOmM]\d+)(\[\d*\w+\])?')


class _DataType:
    """NumPy data type in a file, built from its name and byte order alone."""

    def __init__(self, name: str, *_: Any) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise pickle.UnpicklingError(f'{NO_DATA}: a NumPy data type {name!r}')
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        byte_order, unit = state[1], state[8] if len(state) > 8 else None
        if self.dtype.kind in 'mM' and unit:
            (name, count, *_) = unit[1]
            name = name.decode() if isinstance(name, bytes) else name
            if not re.fullmatch(r'\w+', name):
                raise pickle.UnpicklingError(
                    f'{NO_DATA}: NumPy data in units of {name!r}'
                )
            generic = name == 'generic'
            self.dtype = np.dtype(
                f'{self.dtype.kind}8' + ('' if generic else f'[{int(count)}{name}]')
            )
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


def _method_of_history(owner: Any, name: str) -> Any:
    """Restricted ``getattr``: what MMEngine's logged scalars need."""
    if owner is not HistoryBuffer:
        raise pickle.UnpicklingError(f'{NO_DATA}: getattr of {owner!r}')
    return getattr(owner, name)


_KNOWN: list[Any] = [
    *(_DataType, _Array, HistoryBuffer, argparse.Namespace),
    (_method_of_history, 'builtins.getattr'),
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
    """List classes and functions in a file that are not allowed, sorted."""
    known = set(_weights_only_unpickler._get_allowed_globals())
    known |= {
        each[1] if isinstance(each, tuple) else f'{each.__module__}.{each.__qualname__}'
        for each in _KNOWN
    }
    found: set[str] = set()
    with suppress(Exception):  # it may be anything
        for _ in plain_data(filename, found):
            pass
    return sorted(name for name in found - known if name.isprintable())


def plain_data(filename: str | Path, found: set[str] | None = None) -> Iterator[Any]:
    """Yield the pickles in a file of PyTorch, executing nothing.

    They consist of numbers, text, lists and dicts; the rest becomes a placeholder.
    ``found`` receives the names of classes and functions.
    """
    if zipfile.is_zipfile(filename):
        with zipfile.ZipFile(filename) as archive:
            name = next(n for n in archive.namelist() if n.endswith('data.pkl'))
            yield _InertUnpickler(io.BytesIO(archive.read(name)), found).load()
        return
    with open(filename, 'rb') as file:
        for _ in range(5):  # begins with a number, a version and a platform
            yield _InertUnpickler(file, found).load()


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, found: set[str] | None) -> None:
        super().__init__(file)
        self._found = set() if found is None else found

    def find_class(self, module: str, name: str) -> Any:
        module, name = NAME_MAPPING.get((module, name), (module, name))
        self._found.add(f'{IMPORT_MAPPING.get(module, module)}.{name}')
        return OrderedDict if name == 'OrderedDict' else _Inert

    def persistent_load(self, pid: Any) -> None:
        return None


class _Inert:
    """Placeholder for every object in a pickle that is not plain data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> '_Inert':
        return self

    __setstate__ = __setitem__ = append = extend = add = __call__
