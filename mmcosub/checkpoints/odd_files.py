"""Explanations of why a file cannot be read as a checkpoint."""

import json
import re
import zipfile
from pathlib import Path

from .downloads import is_url, local_file
from .safe_objects import NO_DATA, foreign_objects

_TRUST = 'If you trust where it is from, open it with --trust-checkpoint'
# Phrases of PyTorch's errors and of ours for objects that are not allowed.
_REFUSED = f'{NO_DATA}|unrecognized function|Can only|blocked'
_BEGINNINGS = {
    rb'\s*<(!doctype|html|\?xml)': 'a web page: check the link, or log in for it',
    rb'version https://git-lfs': 'a pointer of Git LFS: fetch the file by git lfs pull',
    rb'\x89HDF': 'an HDF5 file, as Keras writes',
    rb'\x1f\x8b': 'a gzip archive: unpack it',
    rb'\x93NUMPY': 'a NumPy array',
    rb'GGUF': 'a GGUF file',
    rb'\s*[{\[]\s*"': 'JSON',
}


def why_unreadable(filename: str, trust: bool, error: BaseException) -> str:
    """Return one line with the cause and the remedy.

    Args:
        filename (str): The file or URL.
        trust (bool): True if any Python object was allowed.
        error (BaseException): Exception on opening it.
    """
    file = local_file(filename)
    kept = f', kept in {file},' if is_url(filename) else ''
    if not Path(file).is_file():
        return f'{filename} cannot be read as a checkpoint ({_reason(error)}).'
    if what := _what(file):
        return f'{filename}{kept} is not a checkpoint but {what}.'
    if trust and isinstance(error, ImportError | AttributeError):
        return f'{filename}{kept} brings objects of code that is not here: {error}.'
    if not trust and (brought := _brought(file, error)):
        return (
            f'{filename}{kept} {brought}, and opening it could run any code. {_TRUST}.'
        )
    if re.match(rb'\x80[\2-\5]', _start(file)):
        return (
            f'{filename}{kept} is a pickle that torch.save has not written, or is cut '
            'short: load it where it is from, and save its weights with torch.save.'
        )
    return (
        f'{filename}{kept} cannot be read as a checkpoint ({_reason(error)}). It may '
        'be cut short or something else: compare its size, or fetch or save it again.'
    )


def _brought(file: str, error: BaseException) -> str | None:
    """Return the objects that PyTorch refuses to unpickle, if that is the cause."""
    in_zip = _in_zip(file)
    if any(name.endswith('/constants.pkl') for name in in_zip):
        return 'is a TorchScript archive, a program with its weights'
    if _start(file)[257:262] == b'ustar':
        return "is a tar archive (PyTorch's first format, or something to unpack)"
    if file.endswith('.safetensors'):
        return None
    if foreign := foreign_objects(file):
        more = ', ...' if len(foreign) > 4 else ''
        return f'contains Python objects ({", ".join(foreign[:4])}{more})'
    said = _reason(error)
    if re.search(_REFUSED, said) or (in_zip and 'Unsupported operand' in said):
        said = said.removeprefix(f'{NO_DATA}: ')
        return f'brings more than weights and plain data ({said})'
    return None


def _start(file: str) -> bytes:
    with open(file, 'rb') as opened:
        return opened.read(512)


def _in_zip(file: str) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except Exception:  # no zip archive, or one with wrong bytes
        return []


def _what(file: str) -> str | None:
    start = _start(file)
    if not start:
        return 'an empty file'
    for beginning, what in _BEGINNINGS.items():
        if re.match(beginning, start, re.IGNORECASE):
            return what
    names = _in_zip(file)
    if names and not any(name.endswith('data.pkl') for name in names):
        return f'a zip archive of {", ".join(names[:3])}: unpack it'
    return None


def _reason(error: BaseException) -> str:
    """Return an error's message without PyTorch's advice to load unsafely."""
    said = str(error)
    said = re.split(r'WeightsUnpickler error:', said)[-1].strip()
    line = (said.splitlines() or [''])[0].strip()
    if isinstance(error, json.JSONDecodeError) or 'weights_only' in line or not line:
        return type(error).__name__
    return ''.join(c if c.isprintable() else '?' for c in line[:200])
