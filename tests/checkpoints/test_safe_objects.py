"""What is data is read; what is not is named, whatever way it is saved."""

import argparse
import datetime
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch import nn

from mmcosub.checkpoints import read_checkpoint
from mmcosub.checkpoints.safe_objects import foreign_objects

WEIGHTS = {'a.weight': torch.ones(2)}
DATA = {
    'text': np.str_('road'),
    'class names': np.array(['road', 'car']),
    'bytes': np.array([b'a', b'bc']),
    'objects': np.array(['a', None, 3, (1,)], dtype=object),
    'complex': 1 + 2j,
    'complex scalar': np.complex64(1j),
    'complex array': np.array([1j, 2]),
    'time of day': datetime.datetime(2024, 2, 29, 1, tzinfo=datetime.UTC),
    'date': datetime.date(2024, 2, 29),
    'duration': datetime.timedelta(3),
    'time of NumPy': np.datetime64('2024-02-29T01:00'),
    'times': np.array(['2024-02-29'], dtype='M8[D]'),
    'durations': np.array([3], dtype='m8[25s]'),
    'without unit': np.array([3], dtype='m8'),
    'columns first': np.asfortranarray(np.arange(6).reshape(2, 3)),
    'half': np.float16(0.5),
    'truth': np.array([True]),
    'type': np.dtype('f4'),
    'path': Path('a/b'),
    'sets': [frozenset([1]), {2}, range(3), slice(1)],
    'command line': argparse.Namespace(out=Path('a'), names=('a',)),
    'state of OneCycleLR': OneCycleParamScheduler._annealing_cos,
}
FORMATS = {'new': True, 'old': False}


def save(extra: Any, folder: Path, form: str = 'new', **options: Any) -> str:
    file, new = str(folder / 'a.pth'), FORMATS[form]
    content = dict(state_dict=WEIGHTS, extra=extra)
    torch.save(content, file, _use_new_zipfile_serialization=new, **options)
    return file


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('kind', DATA)
def test_data(kind: str, form: str, tmp_path: Path) -> None:
    given = DATA[kind]
    read = read_checkpoint(save(given, tmp_path, form))['extra']
    for got in (read, pickle.loads(pickle.dumps(read))):
        if isinstance(given, np.ndarray):
            assert isinstance(got, np.ndarray)
            assert got.dtype == given.dtype
            assert np.array_equal(got, given)
        else:
            assert got == given
    # What a run has read it saves again, as it was.
    assert foreign_objects(save(read, tmp_path)) == []
    assert type(pickle.loads(pickle.dumps(read))) is type(given)


class Reduced:
    """Is pickled as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def objects(folder: Path) -> dict[str, tuple[Any, str]]:
    """Objects that are no data, and their names."""
    return {
        'call': (Reduced(os.mkdir, (str(folder / 'ran'),)), 'posix.mkdir'),
        'built-in': (Reduced(eval, ('1',)), 'eval'),
        'class': (nn.ReLU(), 'torch.nn.modules.activation.ReLU'),
        'records': (np.zeros(2, dtype=[('a', 'f4')]), "NumPy data type 'V4'"),
        'getattr': (Reduced(getattr, (argparse.Namespace, 'mro')), 'getattr of'),
    }


KINDS = ['call', 'built-in', 'class', 'records', 'getattr']


@pytest.mark.parametrize('form', FORMATS)
@pytest.mark.parametrize('kind', KINDS)
def test_objects_are_named(kind: str, form: str, tmp_path: Path) -> None:
    extra, name = objects(tmp_path)[kind]
    file = save(extra, tmp_path, form)
    with pytest.raises(ValueError, match='any code') as raised:
        read_checkpoint(file)
    said = str(raised.value)
    assert said.startswith(file)
    assert name in said
    assert '--trust-checkpoint' in said
    assert 'weights_only' not in said
    assert '\n' not in said
    assert not (tmp_path / 'ran').exists()
    read_checkpoint(file, trust=True)


def test_other_protocol(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        file = save([1], tmp_path, pickle_protocol=4)
        with pytest.raises(ValueError, match=r'operand.*--trust-checkpoint'):
            read_checkpoint(file)
        read_checkpoint(file, trust=True)


@pytest.mark.parametrize('flags', [0, 63])
@pytest.mark.parametrize('name', ['O', 'f8'])
def test_state_of_a_data_type_is_not_taken(
    name: str, flags: int, tmp_path: Path
) -> None:
    """With it bytes would be taken for addresses of objects."""

    class Forged:
        def __reduce__(self) -> Any:
            state = (3, '|', None, None, None, -1, -1, flags)
            return np.dtype, (name, False, True), state

    class Array:
        def __reduce__(self) -> Any:
            make, args, _ = np.zeros(1).__reduce__()
            return make, args, (1, (1,), Forged(), False, b'\x08' * 8)

    file = save(Array(), tmp_path)
    if name == 'O':
        with pytest.raises(ValueError, match=r'a.pth cannot be read'):
            read_checkpoint(file)
        return
    read = read_checkpoint(file)['extra']
    assert read.dtype == np.float64
    assert not read.dtype.hasobject
