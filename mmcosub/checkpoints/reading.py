"""Reading of checkpoint files without executing code in them."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import torch
from mmengine.dist import barrier, get_rank
from mmengine.runner import checkpoint as mmengine_checkpoint

from .odd_files import why_unreadable
from .safe_objects import known_objects
from .weights import State, sets_of_weights

_INDEX = '.index.json'
# File names in Hugging Face folders.
_IN_FOLDERS = [
    name + end
    for name in ('model.safetensors', 'pytorch_model.bin')
    for end in ('', _INDEX)
]


def require_file(filename: str) -> None:
    """Raise a ``ValueError`` unless a file exists, or a folder of Hugging Face.

    URLs pass.
    """
    path = Path(filename)
    if '://' in filename or path.is_file() or _in_folder(path):
        return
    if Path(path, '.metadata').is_file():
        raise ValueError(
            f'{filename} is a distributed checkpoint of PyTorch. Make it one file: '
            f'python -m torch.distributed.checkpoint.format_utils dcp_to_torch '
            f'{filename} FILE.pth'
        )
    folder = path if path.is_dir() else path.parent
    there = sorted(
        each.name
        for each in folder.glob('*')
        if each.suffix in ('.pth', '.pt', '.bin', '.ckpt', '.safetensors')
    )
    raise ValueError(
        f'No checkpoint file {filename}. '
        + (f'In {folder} there are {there}.' if there else 'Check the path.')
    )


def read_checkpoint(
    filename: str | Path, map_location: str = 'cpu', trust: bool = False
) -> dict:
    """Read a checkpoint, also of MMEngine, without executing code in it.

    Args:
        filename (str | Path): A file (also ``.safetensors``), the index of a sharded
            one, a Hugging Face folder with one of these, or a URL.
        map_location (str): Device of its tensors. Defaults to 'cpu'.
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.

    Raises:
        ValueError: If there is no such file, it is not a checkpoint, or it contains
            objects that are not allowed.
    """
    require_file(filename := str(filename))
    checkpoint = _read(filename, map_location, trust)
    if isinstance(checkpoint, torch.nn.Module):
        checkpoint = checkpoint.state_dict()
    if not isinstance(checkpoint, dict):
        there = f'a {type(checkpoint).__name__}'
    elif sets_of_weights(checkpoint):
        return _without_code(checkpoint)
    else:
        there = ', '.join(map(str, list(checkpoint)[:6])) or 'nothing'
    raise ValueError(f'{filename} has no weights (no `state_dict`), but {there}.')


@contextmanager
def safe_reading(trust: bool = False) -> Iterator[None]:
    """Make MMEngine read checkpoints safely, too, within a context.

    MMEngine reads files for ``init_cfg=dict(type='Pretrained', ...)``, ``load_from`` of
    its ``FlexibleRunner`` and published checkpoints, and unpickles any object in them.

    Args:
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.
    """

    def open_file(file: str | BinaryIO, map_location: Any = None, _: Any = None) -> Any:
        name = file if isinstance(file, str) else 'The checkpoint'
        return _without_code(_open(file, name, map_location, trust))

    def open_url(url: str, *_: Any, map_location: Any = None, **__: Any) -> Any:
        return _without_code(_open(_download(url), url, map_location, trust))

    # All of MMEngine's loaders call one of these two functions.
    ours: dict[str, Any] = dict(_safe_torch_load=open_file, load_url=open_url)
    theirs = {name: getattr(mmengine_checkpoint, name, None) for name in ours}
    try:
        for name, function in ours.items():
            setattr(mmengine_checkpoint, name, function)
        yield
    finally:
        for name, function in theirs.items():
            setattr(mmengine_checkpoint, name, function)


def _read(filename: str, map_location: str, trust: bool) -> Any:
    file = filename = _in_folder(Path(filename)) or filename
    if filename.startswith(('http://', 'https://')):
        if get_rank() == 0:  # one process downloads for all
            _download(filename)
        barrier()
        file = _download(filename)
    if filename.endswith(_INDEX):
        return _read_shards(filename, file, map_location, trust)
    if '://' in file:  # MMEngine's own names of zoo models
        with safe_reading(trust):
            return mmengine_checkpoint._load_checkpoint(file, map_location=map_location)
    return _open(file, filename, map_location, trust)


def _in_folder(path: Path) -> str | None:
    """Return the checkpoint in a Hugging Face folder."""
    found = [path / name for name in _IN_FOLDERS if (path / name).is_file()]
    return str(found[0]) if found else None


def _read_shards(index: str, file: str, map_location: str, trust: bool) -> State:
    try:
        listed = json.loads(Path(file).read_text())['weight_map'].values()
        names = sorted({Path(name).as_posix() for name in listed})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{index} is no index of a sharded checkpoint (no `weight_map`).'
        ) from error
    weights: State = {}
    for name in names:
        if Path(name).name != name or name.endswith(_INDEX):
            raise ValueError(f'{index} names {name!r}, which is not a file beside it.')
        shard = index.rpartition('/')[0] + f'/{name}' if '/' in index else name
        require_file(shard)
        weights.update(_read(shard, map_location, trust))
    return weights


def _download(url: str) -> str:
    """Download a file to the cache of PyTorch's hub, unless it is there.

    The hub's names are those of files, but every file on Hugging Face is called
    ``model.safetensors``. So names get a hash of the URL, unless they contain a hash of
    the content (``vit-0676ba61.pth``; digits alone may be a date).
    """
    name = Path(urlsplit(url).path).name
    if not re.search(r'-(?=\d*[a-f])[0-9a-f]{8,}\.', name):
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}'
    file = Path(torch.hub.get_dir(), 'checkpoints', name)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(file))
        except OSError as error:
            raise ValueError(
                f'{url} could not be downloaded ({error}). Download it elsewhere and '
                f'save it as {file}, or name your copy: for a backbone, train '
                '--backbone FILE.'
            ) from error
    return str(file)


def _open(file: str | BinaryIO, name: str, map_location: Any, trust: bool) -> Any:
    """Open a file; raise with the cause and the remedy if that fails."""
    try:
        if isinstance(file, str):
            with open(file, 'rb') as opened:
                start = opened.read(10)  # a length, and JSON
            if file.endswith('.safetensors') or start[7:] == b'\0{"':
                from safetensors.torch import load_file

                return load_file(file, device=str(map_location or 'cpu'))
        with known_objects():
            return torch.load(file, map_location=map_location, weights_only=not trust)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a file may hold anything
        path = file if isinstance(file, str) else None
        raise ValueError(why_unreadable(name, path, error)) from error


def _without_code(checkpoint: Any) -> Any:
    """Remove the config text that MMEngine would execute on resuming.

    MMEngine writes ``meta['cfg']`` instead, which it does not execute.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint
