"""Files are opened without running what they bring."""

import argparse
import json
import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint
from torch.distributed.checkpoint import save

from mmcosub.checkpoints import read_checkpoint, safe_reading

WEIGHTS = {'a.weight': torch.ones(2, 2)}


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_is_not_run(tmp_path: Path) -> None:
    file, trace = str(tmp_path / 'a.pth'), tmp_path / 'trace'
    torch.save(dict(state_dict=WEIGHTS, extra=Evil(trace)), file)
    with pytest.raises(ValueError, match=r'a.pth contains .*mkdir.*--trust-check'):
        read_checkpoint(file)
    assert not trace.exists()
    read_checkpoint(Path(file), trust=True)
    assert trace.exists()


def test_getattr_is_not_a_way_out(tmp_path: Path) -> None:
    class Reach:
        def __reduce__(self) -> tuple:
            return getattr, (argparse.Namespace, '__init__')

    file = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=WEIGHTS, extra=Reach()), file)
    with pytest.raises(ValueError, match=r'getattr of .*--trust-checkpoint'):
        read_checkpoint(file)


def test_what_checkpoints_of_the_field_contain(tmp_path: Path) -> None:
    history = HistoryBuffer()
    for value in (3.0, 4.0):
        history.update(value)
    content = dict(
        state_dict=WEIGHTS,
        message_hub=dict(log_scalars=dict(loss=history)),
        args=argparse.Namespace(lr=0.1),
        meta=dict(epoch=3, cfg='model = dict()'),
    )
    torch.save(content, tmp_path / 'a.pth')
    read = read_checkpoint(str(tmp_path / 'a.pth'))
    assert read['message_hub']['log_scalars']['loss'].mean(2) == 3.5
    assert read['args'].lr == 0.1


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / 'a.safetensors'
    save_file(WEIGHTS, file)
    assert torch.equal(read_checkpoint(str(file))['a.weight'], WEIGHTS['a.weight'])
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ValueError, match=r'a.safetensors cannot be read'):
        read_checkpoint(str(file))


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_cut_short(tmp_path: Path, share: float) -> None:
    file = tmp_path / 'a.pth'
    torch.save(WEIGHTS, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r'a.pth .* (cut short|empty)'):
        read_checkpoint(str(file))


def test_something_else(tmp_path: Path) -> None:
    file = tmp_path / 'a.pth'
    torch.save(dict(epoch=3), file)
    with pytest.raises(ValueError, match=r'a.pth has no weights .* but epoch'):
        read_checkpoint(str(file))
    torch.save([1, 2], file)
    with pytest.raises(ValueError, match=r'a.pth has no weights .* but a list'):
        read_checkpoint(str(file))


def index_of(folder: Path, names: dict[str, str]) -> Path:
    """Index of a sharded checkpoint: which weight is in which file."""
    file = folder / 'model.safetensors.index.json'
    file.write_text(json.dumps(dict(metadata={}, weight_map=names)))
    return file


def test_shards_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    with pytest.raises(ValueError, match=rf'No checkpoint file {tmp_path}'):
        read_checkpoint(str(tmp_path))
    names, content = {}, {}
    for i in range(2):
        names[f'{i}.weight'] = f'model-{i}.safetensors'
        save_file(
            {f'{i}.weight': torch.full((2,), float(i))},
            tmp_path / f'model-{i}.safetensors',
        )
    index = index_of(tmp_path, names)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    for file in tmp_path.glob('model*'):
        content[f'https://example.org/big/{file.name}'] = file.read_bytes()
    served(content, monkeypatch)
    for name in (str(index), str(tmp_path), f'https://example.org/big/{index.name}'):
        read = read_checkpoint(name)
        assert [read[f'{i}.weight'][0] for i in range(2)] == [0, 1]
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint(index.name).keys() == names.keys()


@pytest.mark.parametrize('shard', ['../a.pth', '/a.pth', 'x.index.json', 'none.bin'])
def test_shards_that_are_not_beside_their_index(shard: str, tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    (tmp_path / 'b').mkdir()
    index = index_of(tmp_path / 'b', {'a.weight': shard})
    with pytest.raises(ValueError, match=r'not a file beside it|No checkpoint file'):
        read_checkpoint(str(index))


def test_index_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / 'model.safetensors.index.json'
    odd = '{"weight_map": {"a": 5}}'
    for text in ('{}', '[]', '{"weight_map": 3}', odd, 'x'):
        file.write_text(text)
        with pytest.raises(ValueError, match=r'no index of a sharded checkpoint'):
            read_checkpoint(str(file))


@pytest.mark.filterwarnings('ignore:torch.distributed is')
def test_distributed_checkpoint_names_the_conversion(tmp_path: Path) -> None:
    folder = tmp_path / 'sharded'
    save(dict(model=dict(weight=torch.ones(2))), checkpoint_id=folder, no_dist=True)
    with pytest.raises(ValueError, match=r'dcp_to_torch .*sharded FILE\.pth'):
        read_checkpoint(str(folder))


def test_trust_ends_with_the_context(tmp_path: Path) -> None:
    file, trace = str(tmp_path / 'a.pth'), tmp_path / 'trace'
    torch.save(dict(state_dict=WEIGHTS, extra=Evil(trace)), file)
    theirs = checkpoint._safe_torch_load, checkpoint.load_url
    with safe_reading():
        with safe_reading(trust=True):
            checkpoint.load_from_local(file, 'cpu')
        assert trace.exists()
        trace.rmdir()
        with pytest.raises(ValueError, match=r'posix.mkdir.*--trust-checkpoint'):
            checkpoint.load_from_local(file, 'cpu')
    assert not trace.exists()
    assert (checkpoint._safe_torch_load, checkpoint.load_url) == theirs


def test_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(WEIGHTS, tmp_path / 'a.pth')
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))

    def fetch(url: str, target: str, *args: object, **kwargs: object) -> None:
        assert url == 'https://example.org/a.pth'
        Path(target).write_bytes((tmp_path / 'a.pth').read_bytes())

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    read = read_checkpoint('https://example.org/a.pth')
    assert torch.equal(read['a.weight'], WEIGHTS['a.weight'])


def test_no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))

    def fetch(*args: object, **kwargs: object) -> None:
        raise URLError('unreachable')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    said = r'example.org/a.pth could not .*unreachable.* elsewhere .* --backbone FILE'
    with pytest.raises(ValueError, match=said):
        read_checkpoint('https://example.org/a.pth')


def served(content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that are fetched, of files of this content."""
    fetched: list[str] = []

    def fetch(url: str, target: str, *args: object, **kwargs: object) -> None:
        fetched.append(url)
        Path(target).write_bytes(content[url])

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    return fetched


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'model.safetensors'])
@pytest.mark.parametrize('reader', ['ours', 'MMEngine'])
def test_urls_of_one_file_name(
    name: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    content = {}
    for value in (1.0, 2.0):
        weights = {'a.weight': torch.full((2,), value)}
        save = save_file if name.endswith('safetensors') else torch.save
        save(weights, tmp_path / name)
        content[f'https://example.org/{value}/{name}'] = (tmp_path / name).read_bytes()
    fetched = served(content, monkeypatch)
    read = read_checkpoint if reader == 'ours' else checkpoint.load_from_http
    for _ in range(2):
        with safe_reading():
            got = [read(url)['a.weight'][0].item() for url in content]
        assert got == [1.0, 2.0]
    assert fetched == list(content)  # once each


@pytest.mark.parametrize(
    ('name', 'found'),
    [('vit-0676ba61.pth', True), ('vit.pth', False), ('vit-20210915.pth', False)],
)
def test_what_others_have_downloaded(
    name: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken where its name says what is in it."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    cache = tmp_path / 'hub' / 'checkpoints'
    cache.mkdir(parents=True)
    torch.save(WEIGHTS, cache / name)
    url = f'https://example.org/{name}'
    fetched = served({url: (cache / name).read_bytes()}, monkeypatch)
    read_checkpoint(url)
    assert fetched == ([] if found else [url])


def test_url_of_a_file_that_brings_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    torch.save(dict(state_dict=WEIGHTS, extra=Evil(tmp_path / 'no')), tmp_path / 'a')
    url = 'https://example.org/a.pth'
    served({url: (tmp_path / 'a').read_bytes()}, monkeypatch)
    with pytest.raises(ValueError, match=r'a.pth.* contains .*mkdir.*--trust-check'):
        read_checkpoint(url)
