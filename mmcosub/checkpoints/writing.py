"""Atomic writing of checkpoints, and the list of those that a run has written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = '.partial'
"""Ending of a file that is being written. One that is found later is of no use."""

POINTER = 'last_checkpoint'
"""MMEngine's file in the work directory with the name of the newest checkpoint."""

WRITTEN = 'written_checkpoints'
"""File in a checkpoint folder with the names of what runs wrote there, newest last."""


@contextmanager
def whole_or_absent(path: str | Path) -> Iterator[Path]:
    """Write a file atomically.

    Yields the file beside ``path`` to write to, which takes its place once it is on
    disk.

    Args:
        path (str | Path): The file to write. If the writing fails, one that is already
            there stays as it is.

    Raises:
        OSError: If it cannot be written, with the name of the file.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
        # A symbolic link of that name would lead the writing elsewhere.
        partial.unlink(missing_ok=True)
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
        _to_disk(path.parent)  # the new name, too
    except OSError as error:
        # What torch and MMEngine raise has no file name.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def write_pointer(work_dir: str | Path, checkpoint: str) -> None:
    """Make ``last_checkpoint`` name a checkpoint.

    Args:
        work_dir (str | Path): Folder of the file.
        checkpoint (str): The checkpoint.
    """
    with whole_or_absent(Path(work_dir, POINTER)) as file:
        file.write_text(checkpoint)


def written_in(folder: str | Path) -> list[str]:
    """Names of the checkpoints that runs wrote into a folder and that are still there.

    Nothing else may be deleted. Links and names with a folder are left out.

    Args:
        folder (str | Path): The folder.

    Returns:
        list[str]: In the order of writing.
    """
    return [name for name in _listed(folder) if _is_plain(Path(folder, name))]


def note_written(folder: str | Path, name: str) -> None:
    """Add a checkpoint that is about to be written to :func:`written_in`.

    Args:
        folder (str | Path): The folder.
        name (str): Name of the file in it.
    """
    names = [each for each in written_in(folder) if each != name]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with whole_or_absent(Path(folder, WRITTEN)) as file:
        file.write_text('\n'.join([*names, name]))


def remove_partial(folder: str | Path) -> None:
    """Remove the checkpoint that a killed run left half-written.

    Args:
        folder (str | Path): Folder of the checkpoints.
    """
    for name in [*_listed(folder), WRITTEN, POINTER]:
        partial = Path(folder, name + PARTIAL)
        if _is_plain(partial):
            partial.unlink()


def _listed(folder: str | Path) -> list[str]:
    file = Path(folder, WRITTEN)
    if not _is_plain(file):
        return []
    names = file.read_text(errors='replace').splitlines()
    return [name for name in names if name and Path(name).name == name]


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
