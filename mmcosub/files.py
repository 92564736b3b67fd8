"""Atomic writing, a run's list of its checkpoints, and guarded folders for output."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ANY_NAME: Any = dict(encoding='utf-8', errors='surrogateescape')
"""Arguments of ``open`` for texts with names of files, which may be any bytes."""

PARTIAL = '.partial'
"""Suffix of a file that is being written."""

POINTER = 'last_checkpoint'
"""MMEngine's file in the work directory with the name of the newest checkpoint."""

WRITTEN = 'written_checkpoints.json'
"""File in a checkpoint folder that lists the run's checkpoints, newest last, and those
of earlier runs."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    Yields a temporary file to write to. It replaces ``path`` once it is on disk; if
    writing fails, an existing file is kept.

    Raises:
        OSError: If it cannot be written; names the file.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        # A symbolic link of that name would redirect the writing.
        partial.unlink(missing_ok=True)
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
        _to_disk(path.parent)  # the new name, too
    except OSError as error:
        # Errors of torch and MMEngine have no file name.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_pointer(work_dir: str | Path, checkpoint: str) -> None:
    """Point ``last_checkpoint`` at a checkpoint."""
    with atomic_write(Path(work_dir, POINTER)) as file:
        file.write_text(checkpoint)


def written_in(folder: str | Path) -> list[str]:
    """Return existing checkpoints in a folder that this run wrote, the oldest first.

    Only these may be deleted. Links and names with a folder are left out.
    """
    return [name for name in _listed(folder)[0] if _is_plain(Path(folder, name))]


def has_written(folder: str | Path, name: str) -> bool:
    """Return True if this run wrote a checkpoint in a folder, even if deleted since."""
    return name in _listed(folder)[0]


def written_earlier(folder: str | Path) -> set[str]:
    """Return checkpoints in a folder of unrelated earlier runs.

    Also those that a run, resumed from an older checkpoint, has redone.
    """
    return {*_listed(folder)[1]}


def begin_run(folder: str | Path, resumed: str) -> None:
    """Record the existing checkpoints at the start of a run.

    ``resumed`` is the name of the resumed checkpoint in the folder, '' without one.
    """
    own, there = written_in(folder), {path.name for path in Path(folder).glob('*.pth')}
    own = own[: own.index(resumed) + 1] if resumed in own else []
    _list(folder, own, there - {*own, resumed})


def note_written(folder: str | Path, name: str) -> None:
    """Record a checkpoint that is about to be written."""
    own = [each for each in written_in(folder) if each != name]
    _list(folder, [*own, name], written_earlier(folder) - {name})


def remove_partial(folder: str | Path) -> None:
    """Remove the partial checkpoint of a killed run."""
    own, earlier = _listed(folder)
    for name in [*own, *earlier, WRITTEN, POINTER]:
        partial = Path(folder, name + PARTIAL)
        if _is_plain(partial):
            partial.unlink()


def _listed(folder: str | Path) -> tuple[list[str], list[str]]:
    """Return names that the run and that earlier ones have written."""
    file = Path(folder, WRITTEN)
    try:
        listed = json.loads(file.read_text()) if _is_plain(file) else {}
        both = [[*map(str, listed.get(key, []))] for key in ('written', 'earlier')]
    except (ValueError, AttributeError, TypeError, RecursionError):
        both = [[], []]
    own, earlier = ([n for n in names if Path(n).name == n != ''] for names in both)
    return own, earlier


def _list(folder: str | Path, own: list[str], earlier: set[str]) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    with atomic_write(Path(folder, WRITTEN)) as file:
        file.write_text(json.dumps(dict(written=own, earlier=sorted(earlier))))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _to_disk(path: Path) -> None:
    folder = path.is_dir()
    if folder and os.name == 'nt':
        return  # Windows opens no folders, and flushes what is open for writing
    handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems flush no folders; the file itself is on disk.
        if not folder or error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def claim_outputs(out: Path, *patterns: str) -> None:
    """Make a folder of predictions; later ones may overwrite what is in it.

    Raises:
        ValueError: If it has files of these patterns, such as labels, that no earlier
            call was for.
    """
    mark = out / '.predictions'
    there = (file for pattern in patterns for file in out.glob(pattern))
    if not mark.exists() and (found := next(there, None)):
        raise ValueError(
            f'--out {out}: there are files that may not be predictions, such as '
            f'{found}, which those of the same names would overwrite. Choose another '
            'folder, or delete them if they are earlier predictions.'
        )
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()


def require_local(work_dir: str | Path) -> None:
    """Raise a ``ValueError`` if a work directory is a URL rather than a folder."""
    if '://' in str(work_dir):
        raise ValueError(
            f'work_dir={str(work_dir)!r} is a URL, and logs and checkpoints are '
            'written to a local folder: choose one with --work-dir. Only checkpoints '
            'can be elsewhere: --cfg-options default_hooks.checkpoint.out_dir=URL.'
        )
