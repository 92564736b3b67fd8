"""Files that are no checkpoint: one line that says what they are."""

import gzip
import io
import pickle
import random
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmcosub.checkpoints import read_checkpoint


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(2))
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('weights/model.pth', b'1')
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('model.pth'))
    return file.getvalue()


def _scripted() -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), file)
    return file.getvalue()


FILES = {
    'empty': (b'', 'an empty file'),
    'HTML': (b'\n<!DOCTYPE html><html>404</html>', 'a web page: check the link'),
    'LFS': (b'version https://git-lfs.github.com/spec/v1\noid 1', 'git lfs pull'),
    'JSON': (b'{"error": "not found"}', 'but JSON'),
    'gzip': (gzip.compress(b'1' * 600), 'a gzip archive: unpack it'),
    'NumPy': (_npz(), r'a zip archive of a.npy: unpack it'),
    'zip': (_zip(), r'a zip archive of weights/model.pth: unpack it'),
    'tar': (_tar(), 'a tar archive .*--trust-checkpoint'),
    'TorchScript': (_scripted(), 'a TorchScript archive, .*--trust-checkpoint'),
    'pickle': (pickle.dumps(dict(a=[1, 2])), 'a pickle that torch.save has'),
    'old pickle': (pickle.dumps(dict(a=[1]), protocol=2), 'a pickle that'),
    'Detectron2': (pickle.dumps(dict(model=dict(a=np.ones(2)))), 'a pickle that torch'),
    'text': (b'weights' * 100, 'cannot be read'),
    'zeros': (bytes(5000), 'cannot be read'),
}  # fmt: skip


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('kind', FILES)
def test_odd_file(kind: str, suffix: str, tmp_path: Path) -> None:
    content, what = FILES[kind]
    file = tmp_path / f'a{suffix}'
    file.write_bytes(content)
    with pytest.raises(ValueError, match=what) as raised:
        read_checkpoint(str(file))
    said = str(raised.value)
    assert said.startswith(str(file))
    assert '\n' not in said
    assert 'weights_only' not in said
    assert len(said) < 450


def test_trusted_program(tmp_path: Path) -> None:
    (tmp_path / 'a.pt').write_bytes(_scripted())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        read = read_checkpoint(str(tmp_path / 'a.pt'), trust=True)
    assert read.keys() == {'weight', 'bias'}


def test_trusted_module(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    for content in (model, dict(model=model, epoch=3)):
        torch.save(content, tmp_path / 'a.pt')
        read = read_checkpoint(str(tmp_path / 'a.pt'), trust=True)
        assert read.keys() == {'0.weight', '0.bias'} or read['model'] is not None


@pytest.mark.parametrize('kind', ['new', 'old', 'safetensors'])
def test_wrong_bytes(kind: str, tmp_path: Path) -> None:
    """A file with wrong bytes is read or refused in one line that names it."""
    weights = {'a.weight': torch.ones(4, 4), 'b.bias': torch.zeros(3)}
    file = tmp_path / ('a.safetensors' if kind == 'safetensors' else 'a.pth')
    if kind == 'safetensors':
        save_file(weights, file)
    else:
        extra = dict(names=np.array(['a']), meta=dict(epoch=3))
        torch.save(
            dict(state_dict=weights, **extra),
            file,
            _use_new_zipfile_serialization=kind == 'new',
        )
    content, generator = file.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(200):
        wrong = bytearray(content)
        for _ in range(generator.choice([1, 3, 10])):
            wrong[generator.randrange(len(wrong))] = generator.randrange(256)
        file.write_bytes(wrong)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                read_checkpoint(str(file))
        except ValueError as error:
            said = str(error)
            refused += 1
            if not said.startswith(str(file)) or not said.isprintable():
                raise
    assert refused > 50


def test_safetensors_of_another_name(tmp_path: Path) -> None:
    save_file({'a.weight': torch.ones(2)}, tmp_path / 'a.bin')
    assert read_checkpoint(str(tmp_path / 'a.bin')).keys() == {'a.weight'}
