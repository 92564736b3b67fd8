"""Work directory of a training: a local folder, used by one training at a time."""

import ctypes
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = '.lock'
"""File in a work directory that a training keeps locked."""

_PR_SET_PDEATHSIG = 1
_PARENT = os.getppid()
_held: set[str] = set()


@contextmanager
def locked(work_dir: str, warn: Callable[[str], None]) -> Iterator[None]:
    """Lock a work directory against other trainings within a context.

    Rank 0 locks for all ranks. ``warn`` receives a message if the file system has no
    locks.

    Raises:
        ValueError: If another process trains there.
    """
    refused: list[str | None] = [None]
    handle = -1
    if is_main_process() and fcntl and work_dir not in _held:
        # Workers that outlive a killed process would inherit locks of flock.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        handle = os.open(Path(work_dir, LOCK), flags, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.write(handle, f'process {os.getpid()} on {platform.node()}'.encode())
            _held.add(work_dir)
        except (BlockingIOError, PermissionError):
            who = os.read(handle, 200).decode(errors='replace') or 'an unknown process'
            refused = [
                f'Another training uses {work_dir}: {who}. Wait until it has ended, '
                'stop it, or choose another folder with --work-dir.'
            ]
        except OSError as error:
            warn(f'{work_dir} cannot be locked ({error}): train there one at a time.')
    broadcast_object_list(refused)
    try:
        if refused[0]:
            raise ValueError(refused[0])
        yield
    finally:
        if handle >= 0:
            os.close(handle)
            _held.discard(work_dir)


def end_with_torchrun() -> None:
    """End this process as soon as its parent torchrun has ended.

    Otherwise ranks continue after their torchrun was killed.
    """
    if 'TORCHELASTIC_RUN_ID' not in os.environ or sys.platform != 'linux':
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != _PARENT:  # it had ended before
        os.kill(os.getpid(), signal.SIGKILL)
