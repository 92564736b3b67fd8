"""Opening checkpoint files without running code that they bring."""

import argparse
import hashlib
import importlib
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit
from zipfile import BadZipFile

import numpy as np
import torch
from mmengine.dist import barrier, get_rank
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoint

from .weights import State, select_weights, sets_of_weights, state_dict

__all__ = ['State', 'read_checkpoint', 'read_weights', 'state_dict', 'use_reader']


def require_file(filename: str) -> None:
    """Check that a checkpoint that is no URL is there.

    Args:
        filename (str): A file or URL.

    Raises:
        ValueError: If there is no such file.
    """
    if '://' not in filename and not Path(filename).is_file():
        folder = Path(filename) if Path(filename).is_dir() else Path(filename).parent
        there = sorted(path.name for path in folder.glob('*.pth'))
        raise ValueError(
            f'No checkpoint file {filename}. '
            + (f'In {folder} there are {there}.' if there else 'Check the path.')
        )


def read_checkpoint(
    filename: str, map_location: str = 'cpu', trust: bool = False
) -> dict:
    """Read a checkpoint, MMEngine's included, without running code that it brings.

    Args:
        filename (str): A file (``.safetensors`` too) or URL.
        map_location (str): Device of its tensors. Defaults to 'cpu'.
        trust (bool): Whether the file may bring any Python object, and so run any
            code. Defaults to False.

    Raises:
        ValueError: If there is no such file, it is no checkpoint, or it brings objects
            although it is not trusted.
    """
    require_file(filename)
    with _explained(filename, trust):
        checkpoint = _read(filename, map_location, trust)
    if not sets_of_weights(checkpoint):
        raise ValueError(f'{filename} has no weights (no `state_dict`).')
    return _without_code(checkpoint)


def use_reader(trust: bool = False) -> None:
    """Have MMEngine open every checkpoint file in this way, too.

    It opens files by itself for ``init_cfg=dict(type='Pretrained', ...)``, for
    ``load_from`` of its ``FlexibleRunner`` and for published checkpoints, and falls
    back to running what they bring.

    Args:
        trust (bool): Whether files may bring any Python object, and so run any code.
            Defaults to False.
    """

    def open_file(file: str | BinaryIO, map_location: Any = None, _: Any = None) -> Any:
        name = file if isinstance(file, str) else 'The checkpoint'
        with _explained(name, trust):
            return _without_code(_open(file, map_location, trust))

    def open_url(url: str, *_: Any, map_location: Any = None, **__: Any) -> Any:
        with _explained(url, trust):
            return _without_code(_open(_download(url), map_location, trust))

    # The two functions that all of its loaders end in.
    mmengine_checkpoint._safe_torch_load = open_file
    mmengine_checkpoint.load_url = open_url


def read_weights(
    filename: str,
    which: str | None = None,
    trust: bool = False,
    option: str = '--backbone-weights',
) -> tuple[State, str]:
    """Read one set of weights of a checkpoint, in full precision.

    Args:
        filename (str): A file or URL.
        which (str, optional): As of :func:`select_weights`: 'ema', 'model', the name
            of a set. Defaults to None: the average if there is one.
        trust (bool): Whether the file may bring any Python object, and so run any
            code. Defaults to False.
        option (str): Name of the user's option for ``which``, for messages.

    Returns:
        tuple: The weights, and the name of the set in the file.

    Raises:
        ValueError: If the file cannot be read, or has no such weights.
    """
    return select_weights(
        read_checkpoint(filename, trust=trust), which, filename, option
    )


def _read(filename: str, map_location: str, trust: bool) -> Any:
    if _is_url(filename):
        if get_rank() == 0:  # one process downloads for all
            _download(filename)
        barrier()
        return _open(_download(filename), map_location, trust)
    if '://' in filename:  # MMEngine's own names of zoo models
        use_reader(trust)
        return mmengine_checkpoint._load_checkpoint(filename, map_location=map_location)
    return _open(filename, map_location, trust)


def _open(file: str | BinaryIO, map_location: Any, trust: bool) -> Any:
    if isinstance(file, str) and file.endswith('.safetensors'):
        from safetensors.torch import load_file

        return load_file(file, device=str(map_location or 'cpu'))
    with _known_objects():
        return torch.load(file, map_location=map_location, weights_only=not trust)


def _is_url(filename: str) -> bool:
    return filename.startswith(('http://', 'https://'))


def _cached(url: str) -> Path:
    """Where a download is kept: in the cache of torch's hub, under a name of its own.

    There the file's name alone is taken, and every file on Hugging Face is called
    ``model.safetensors``. A name with a hash of the content (``vit-0676ba61.pth``; one
    of digits only may be a date) stays as it is: what others have downloaded is found.
    """
    name = Path(urlsplit(url).path).name
    if not re.search(r'-(?=\d*[a-f])[0-9a-f]{8,}\.', name):
        name = f'{hashlib.sha256(url.encode()).hexdigest()[:8]}-{name}'
    return Path(torch.hub.get_dir(), 'checkpoints', name)


def _download(url: str) -> str:
    file = _cached(url)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file))
    return str(file)


def _without_code(checkpoint: Any) -> Any:
    """Take out the config as text that MMEngine would run when it resumes.

    MMEngine itself writes ``meta['cfg']``, which it does not run.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if isinstance(meta, dict):
        meta.pop('config', None)
    return checkpoint


@contextmanager
def _explained(filename: str, trust: bool) -> Iterator[None]:
    """Say of a file that cannot be opened why, and what to do."""
    try:
        yield
    except (
        pickle.UnpicklingError,
        EOFError,
        RuntimeError,
        BadZipFile,
        KeyError,
        AttributeError,
        _safetensors_error(),
    ) as e:
        file = str(_cached(filename)) if _is_url(filename) else filename
        objects = [] if trust else foreign_objects(file)
        if objects:
            raise ValueError(
                f'{filename} brings Python objects besides weights ({_some(objects)}), '
                'and opening it could run any code. If you trust where it is from, '
                'say so: --trust-checkpoint.'
            ) from e
        kept = f', kept in {file},' if _is_url(filename) else ''
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise ValueError(
            f'{filename}{kept} cannot be read as a checkpoint ({reason}). It may be '
            'cut short or something else: compare its size, or fetch or save it again.'
        ) from e


@contextmanager
def _known_objects() -> Iterator[None]:
    """Let in the harmless objects that checkpoints of this field contain.

    The logged scalars of MMEngine's runs and the command line of the DeiT family's.
    """
    numpy: Any = importlib.import_module('numpy._core.multiarray')
    known: list[Any] = [
        HistoryBuffer,
        (_method_of_history, 'builtins.getattr'),
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in '?bBhHiIlLqQefdg'},
    ]
    for function in (numpy._reconstruct, numpy.scalar):  # by their names of all times
        for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
            known.append((function, f'{module}.{function.__name__}'))
    with torch.serialization.safe_globals(known):
        yield


def _method_of_history(owner: Any, name: str) -> Any:
    """All of ``getattr`` that MMEngine's logged scalars need."""
    if owner is not HistoryBuffer:
        raise pickle.UnpicklingError(f'getattr of {owner!r} is not allowed.')
    return getattr(owner, name)


def foreign_objects(filename: str) -> list[str]:
    """Names of the objects, other than the known ones, that a file brings.

    Args:
        filename (str): The file.
    """
    try:
        with _known_objects():
            found = torch.serialization.get_unsafe_globals_in_checkpoint(filename)
    except Exception:  # no readable file of torch's at all
        return []
    known = ('builtins.getattr', 'numpy.core.multiarray')
    return sorted(name for name in found if not name.startswith(known))


def _safetensors_error() -> type[Exception]:
    try:
        from safetensors import SafetensorError
    except ImportError:
        return EOFError
    return SafetensorError


def _some(names: list[str]) -> str:
    return ', '.join(names[:4]) + (', ...' if len(names) > 4 else '')
