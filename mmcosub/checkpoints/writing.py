"""Checkpoints that are whole or absent, and finding the newest whole one."""

import os
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from torch.serialization import get_unsafe_globals_in_checkpoint

PARTIAL = '.partial'
"""Ending of a file that is being written. One that is found later is of no use."""

POINTER = 'last_checkpoint'
"""MMEngine's file in the work directory with the name of the newest checkpoint."""

# Best ones and published ones, by MMEngine's names. That of a checkpoint may be the
# same, if filename_tmpl='iter-{:08d}.pth'.
_OF_WEIGHTS = re.compile(r'^best_|-[0-9a-f]{8}\.pth$')


@contextmanager
def whole_or_absent(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which takes its place once it is on disk.

    Args:
        path (str | Path): The file that is to be. One that is there is replaced, or
            left as it is if the writing fails.

    Raises:
        OSError: If it cannot be written, with the name of the file.
    """
    path = Path(path)
    partial = path.with_name(path.name + PARTIAL)
    try:
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
    """Have ``last_checkpoint`` name a checkpoint.

    Args:
        work_dir (str | Path): Folder of the file.
        checkpoint (str): The checkpoint.
    """
    with whole_or_absent(Path(work_dir, POINTER)) as file:
        file.write_text(checkpoint)


def damage(path: str | Path) -> str | None:
    """What is wrong with a checkpoint file; None if it reads back as it was written.

    Looks at the checksums in it. What it means is left to :func:`read_checkpoint`.

    Args:
        path (str | Path): The file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            broken = file.testzip()
        # PyTorch's reader goes by more of the directory than Python's.
        get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # a single wrong bit raises any of a dozen kinds
        size = os.path.getsize(path) if os.path.exists(path) else None
        return f'{error}, {size} bytes' if size is not None else 'it is not there'
    return f'{broken} in it is damaged' if broken else None


def has_run(path: str | Path) -> bool:
    """Whether a file has more than weights: the state of a run.

    Reads the names in the file, and runs nothing that it brings.

    Args:
        path (str | Path): The file. One that is damaged has none.
    """
    try:
        with zipfile.ZipFile(path) as file:
            objects = next(n for n in file.namelist() if n.endswith('/data.pkl'))
            content = file.read(objects)
        names = {n for _, n, _ in pickletools.genops(content) if isinstance(n, str)}
    except Exception:  # as in `damage`
        return False
    return {'optimizer', 'message_hub'} <= names


def checkpoints_in(work_dir: str | Path) -> list[Path]:
    """Checkpoints that a run can be resumed from, the newest first.

    That is the one that ``last_checkpoint`` names, unless others have come after it
    was written: a killed run may not have got to that. Best and published ones have no
    state of the optimizer and are left out.

    Args:
        work_dir (str | Path): Work directory of the run.
    """
    pointer = Path(work_dir, POINTER)
    named = pointer.read_text().strip() if pointer.is_file() else ''
    written = pointer.stat().st_mtime_ns if named else 0
    latest = Path(work_dir, Path(named).name)  # the folder may have been moved
    if named and not latest.is_file():
        latest = Path(named)

    def age(path: Path) -> tuple[bool, bool, int]:
        time = path.stat().st_mtime_ns
        return time <= written, path != latest, -time

    found = {
        path
        for path in Path(work_dir).glob('*.pth')
        if path.is_file() and (not _OF_WEIGHTS.search(path.name) or has_run(path))
    }
    if named and latest.is_file():
        found.add(latest)
    return sorted(found, key=age)


def newest_whole(work_dir: str | Path, say: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that can be resumed from.

    Args:
        work_dir (str | Path): Work directory of the run.
        say (Callable): Told which ones were passed over, and why.

    Returns:
        Path, optional: The file, or one of weights only if there is no other; None if
            there is none at all.

    Raises:
        ValueError: If there are some, and all are damaged.
    """
    found = checkpoints_in(work_dir)
    of_weights = None
    for path in found:
        wrong = damage(path)
        if wrong:
            say(f'Passed over {path}, which is not whole ({wrong}).')
        elif has_run(path):
            return path
        else:  # converted or averaged, say
            say(f'Passed over {path}, which has weights only.')
            of_weights = of_weights or path
    if of_weights:
        return of_weights
    if found:
        raise ValueError(
            f'None of the {len(found)} checkpoints in {work_dir} is whole. To start '
            'anew, take them out of the folder or choose another --work-dir.'
        )
    return None


def remove_partial(work_dir: str | Path) -> None:
    """Remove what a killed run left half-written.

    Args:
        work_dir (str | Path): Work directory of the run.
    """
    for path in Path(work_dir).glob(f'*{PARTIAL}'):
        path.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
