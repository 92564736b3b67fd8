"""Explanations of why a file cannot be read as a checkpoint."""

import json
import re
import zipfile
from pathlib import Path

from .safe_objects import NO_DATA

_TRUST = (
    'and opening it could run any code. If you trust where it is from, open it with '
    '--trust-checkpoint.'
)
# Phrases of PyTorch's errors and of ours for objects that are not allowed.
_REFUSED = f'{NO_DATA}|unrecognized function|Can only|blocked'
_BEGINNINGS = {
    rb'\Z': 'an empty file',
    rb'\s*<(!doctype|html|\?xml)': 'a web page: check the link, or log in for it',
    rb'version https://git-lfs': 'a pointer of Git LFS: fetch the file by git lfs pull',
    rb'\x1f\x8b': 'a gzip archive: unpack it',
    rb'\s*[{\[]\s*"': 'JSON',
}


def why_unreadable(name: str, file: str | None, error: BaseException) -> str:
    """Return one line with the cause and the remedy, for a file's name or URL."""
    said = _reason(error)
    if file is None or not Path(file).is_file():
        return f'{name} cannot be read as a checkpoint ({said}).'
    kept = name if name == file else f'{name}, kept in {file},'
    with open(file, 'rb') as opened:
        start = opened.read(512)
    members = _members(file)
    what = next((v for k, v in _BEGINNINGS.items() if re.match(k, start, re.I)), None)
    if members and not any(member.endswith('data.pkl') for member in members):
        what = what or f'a zip archive of {", ".join(members[:3])}: unpack it'
    if what:
        return f'{kept} is not a checkpoint but {what}.'
    brought = re.search(r'GLOBAL ([\w.]+)', str(error))
    brings = ''
    if any(member.endswith('/constants.pkl') for member in members):
        brings = 'is a TorchScript archive, a program with its weights'
    elif start[257:262] == b'ustar':
        brings = "is a tar archive (PyTorch's first format, or something to unpack)"
    elif brought:
        brings = f'contains Python objects ({brought[1]})'
    elif re.search(_REFUSED, said) or (members and 'Unsupported operand' in said):
        said = said.removeprefix(f'{NO_DATA}: ')
        brings = f'brings more than weights and plain data ({said})'
    if brings:
        return f'{kept} {brings}, {_TRUST}'
    if re.match(rb'\x80[\2-\5]', start):
        return (
            f'{kept} is a pickle that torch.save has not written, or is cut short: '
            'load it where it is from, and save its weights with torch.save.'
        )
    return (
        f'{kept} cannot be read as a checkpoint ({said}). It may be cut short or '
        'something else: compare its size, or fetch or save it again.'
    )


def _members(file: str) -> list[str]:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except Exception:  # no zip archive, or one with wrong bytes
        return []


def _reason(error: BaseException) -> str:
    """Return an error's message without PyTorch's advice to load unsafely."""
    said = re.split(r'WeightsUnpickler error:', str(error))[-1].strip()
    line = (said.splitlines() or [''])[0].strip()
    if isinstance(error, json.JSONDecodeError) or 'weights_only' in line or not line:
        return type(error).__name__
    return ''.join(c if c.isprintable() else '?' for c in line[:200])
