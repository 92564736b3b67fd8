"""Search for the newest intact checkpoint of a run, without executing pickled code."""

import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.serialization import get_unsafe_globals_in_checkpoint

from mmcosub.files import POINTER, has_written, written_earlier, written_in

# Names of best and published checkpoints in MMEngine. A regular checkpoint may match as
# well, with filename_tmpl='iter-{:08d}.pth'.
_OF_WEIGHTS = re.compile(r'^best_|-[0-9a-f]{8}\.pth$')


def corruption(path: str | Path) -> str | None:
    """Verify the checksums of a file: return the problem, or None if it is intact."""
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
        # PyTorch's reader uses more fields of the archive than Python's.
        get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # a wrong bit can raise almost any exception
        size = os.path.getsize(path) if os.path.exists(path) else None
        return f'{error}, {size} bytes' if size is not None else 'it is not there'
    return f'{broken} in it is damaged' if broken else None


def saved_iteration(path: str | Path) -> int | None:
    """Return the iteration at which a checkpoint was saved, executing nothing.

    None if the file is corrupt or has weights only.
    """
    try:
        with zipfile.ZipFile(path) as file:
            name = next(n for n in file.namelist() if n.endswith('data.pkl'))
            checkpoint = _PlainData(io.BytesIO(file.read(name))).load()
        if 'optimizer' in checkpoint and 'message_hub' in checkpoint:
            return int(checkpoint['meta']['iter'])
    except Exception:  # as in `corruption`
        pass
    return None


def pointed_checkpoint(work_dir: str | Path) -> Path | None:
    """Return the file that ``last_checkpoint`` names, not the original of a copy's."""
    named = Path(_pointer(work_dir))
    places = [Path(work_dir, named.name)]
    if not has_written(work_dir, named.name):
        places.append(named)
    return next((path for path in places if path.is_file()), None)


def remote_checkpoint(work_dir: str | Path) -> str:
    """Return the URL in ``last_checkpoint``; '' if it names a file."""
    named = _pointer(work_dir)
    return named if '://' in named else ''


def checkpoints_in(work_dir: str | Path) -> list[Path]:
    """List checkpoints that a run can be resumed from, newest first.

    Sorted by the iteration in the file, then ``last_checkpoint``; file times do not
    count, as copying changes them. Checkpoints of earlier runs, or of iterations that a
    resumed run has redone, come later. Best and published ones are left out, as they
    have no optimizer state; other files of weights, and unreadable ones, come last.
    """
    return [path for path, _ in _ranked(work_dir)]


def newest_intact(work_dir: str | Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest intact checkpoint; None if there is none.

    ``say`` receives a message for each skipped checkpoint.

    Raises:
        ValueError: If all are corrupt, or the newest is not in a local folder.
    """
    found, newest = _ranked(work_dir), None
    for path, has_run in found:
        if has_run and newest:
            continue
        if wrong := corruption(path):
            say(f'Skipped {path}, which is corrupt ({wrong}).')
        elif not newest:
            newest = path
    if found and not newest:
        raise ValueError(
            f'None of the {len(found)} checkpoints in {work_dir} is intact. To start '
            'again, take them out of the folder or choose another --work-dir.'
        )
    if not found and (url := remote_checkpoint(work_dir)):
        raise ValueError(
            f'The newest checkpoint of {work_dir} is {url}: --resume {url}.'
        )
    return newest


def _pointer(work_dir: str | Path) -> str:
    pointer = Path(work_dir, POINTER)
    return pointer.read_text(errors='replace').strip() if pointer.is_file() else ''


def _ranked(work_dir: str | Path) -> list[tuple[Path, bool]]:
    """List checkpoints with whether each contains the state of a run."""
    pointed = pointed_checkpoint(work_dir)
    ranks: dict[Path, tuple] = {}
    for folder in {Path(work_dir), pointed.parent if pointed else Path(work_dir)}:
        written, earlier = written_in(folder), written_earlier(folder)
        others = {path.name for path in folder.glob('*.pth') if path.is_file()}
        if pointed and pointed.parent == folder:
            others.add(pointed.name)
        for name in reversed([*sorted(others.difference(written)), *written]):
            path, iteration = folder / name, saved_iteration(folder / name)
            if iteration is not None:
                order = (name in earlier, -iteration, path != pointed, len(ranks))
                ranks[path] = (0, *order)
            elif path == pointed or not _OF_WEIGHTS.search(name):
                ranks[path] = (1, len(ranks))
    return [(path, not ranks[path][0]) for path in sorted(ranks, key=ranks.__getitem__)]


class _PlainData(pickle.Unpickler):
    """Reads numbers, text, lists and dicts; all else becomes a placeholder."""

    def find_class(self, module: str, name: str) -> type:
        return OrderedDict if name == 'OrderedDict' else _Placeholder

    def persistent_load(self, pid: Any) -> None:
        return None


class _Placeholder:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> '_Placeholder':
        return self

    __setstate__ = __setitem__ = append = extend = add = __call__
