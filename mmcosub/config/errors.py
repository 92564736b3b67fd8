"""User errors: one line and status 2 instead of a traceback."""

import errno
import functools
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import torch
from mmengine.logging import MMLogger

from mmcosub.arguments import STATUS

from .where import explained

_ALWAYS_THE_USERS = (ValueError, OSError, FloatingPointError, torch.OutOfMemoryError)
_WORKER = r'DataLoader worker .*(killed|exited)|</torch_|Bus error'
# Patterns of errors from lost memory or processes, with the remedy.
_LOST = {
    'Too many open files|ancdata': (
        'Raise the limit of open files (`ulimit -n 65535`) or lower num_workers.'
    ),
    _WORKER: (
        'A process that loads data was ended, most often for lack of memory or of room '
        'in /dev/shm: look at `dmesg` and `df -h /dev/shm`, then lower num_workers or '
        'batch_size of the data loader, or give the container more (--shm-size).'
    ),
    r'(closed|reset) by (peer|remote)|Broken pipe|[Tt]ime(d ?)?out|NCCL error': (
        'Another process of the run is gone or cannot be reached. If it has not said '
        'why, it may have been ended for lack of memory: look at `dmesg` there.'
    ),
    "MemoryError|can't allocate memory": (
        'There is too little memory: lower batch_size, num_workers or the size of '
        'images.'
    ),
}

_stage = ''
_succeeded: set[str] = set()


def note_moment(name: str) -> None:
    """Record how far a run has come, to tell config errors from bugs."""
    global _stage
    if re.fullmatch('before_(train|val|test)_iter', name):
        _stage = name.split('_')[1]
    elif name in ('after_train_iter', 'after_val_epoch', 'after_test_epoch'):
        _succeeded.add(name.split('_')[1])


@contextmanager
def explained_errors(prog: str, debug: bool = False) -> Iterator[None]:
    """End the process with one line and status 2 at a user's error.

    Every error before the first successful iteration or validation counts as a user's,
    because the config has not run yet. Later, only ``ValueError``, ``OSError`` (a full
    disk), non-finite losses and lack of device memory do. A lost process is reported in
    one line with status 1. All other errors are bugs and show a traceback. The log file
    has the traceback of each error; with ``debug``, the screen, too.
    """
    global _stage
    _stage = ''
    _succeeded.clear()
    outlive_readers()
    try:
        yield
    except Exception as error:
        restore = _without_signals_of_workers()
        # A lost worker interrupts any line, of libraries that raise another error, too.
        worker = next((e for e in _contexts(error) if _is_lost_worker(e)), None)
        cause = worker or error
        lost = _loss(cause) or (_LOST[_WORKER] if worker else '')
        users = not worker and (
            isinstance(error, _ALWAYS_THE_USERS)
            or (_stage not in _succeeded and not isinstance(error, MemoryError))
        )
        if not worker:
            restore()
        if debug or not (users or lost):
            raise
        _log_traceback(error)
        rank = os.environ.get('RANK', '0')
        where = '' if rank == '0' else f' (rank {rank})'
        said = f'{in_one_line(cause)} {lost}'.strip()
        print(f'{prog}: error{where}: {said}', file=sys.stderr)
        sys.stderr.flush()
        sys.exit(STATUS if users else 1)


def in_one_line(error: BaseException) -> str:
    """Return an error's message in one line, also from a data loader's worker."""
    said, kind = str(error), type(error).__name__
    if 'Original Traceback' in said:  # torch puts a worker's traceback in the message
        said = re.split(rf'\n(?:[\w.]+\.)?{kind}: ', said)[-1]
    if isinstance(error, OSError) and error.strerror:
        said = f'{error.filename}: {error.strerror}' if error.filename else said
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            said += '. Free some space and continue with --resume.'
    if isinstance(error, KeyError) and len(error.args) == 1:
        said = str(error.args[0])
    return explained(error, ' '.join(said.split()))


def _without_signals_of_workers() -> Callable[[], object]:
    """Have lost workers raise nothing, as PyTorch does in any line; returns the undo.

    While one is reported, others may be lost.
    """
    number = getattr(signal, 'SIGCHLD', None)  # not on Windows
    if number is None or threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = signal.signal(number, signal.SIG_DFL)
    return lambda: signal.signal(number, before)


def _is_lost_worker(error: BaseException | None) -> bool:
    if isinstance(error, EOFError | ConnectionError):  # it was handing over a batch
        frames = traceback.walk_tb(error.__traceback__)
        return any(frame.f_code.co_name == '_try_get_data' for frame, _ in frames)
    return isinstance(error, RuntimeError) and bool(re.search(_WORKER, str(error)))


def _contexts(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that were being handled when it was raised."""
    while error is not None:
        yield error
        error = error.__context__


def _loss(error: BaseException) -> str:
    """Return the remedy for lost memory or processes; empty for other errors."""
    of_device = isinstance(error, torch.OutOfMemoryError)
    if of_device or not isinstance(error, RuntimeError | MemoryError):
        return ''
    said = f'{type(error).__name__}: {error}'
    return next((advice for k, advice in _LOST.items() if re.search(k, said)), '')


def _log_traceback(error: Exception) -> None:
    """Write the traceback to the log files, if there are any yet."""
    if not MMLogger._instance_dict:
        return
    about = (type(error), error, error.__traceback__)
    record = logging.LogRecord(
        'mmengine', logging.ERROR, __file__, 0, 'The run ended.', None, about
    )
    for handler in MMLogger.get_current_instance().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


# ---- output that cannot be written -----------------------------------------------


def outlive_readers() -> None:
    """Continue the process when its output cannot be written.

    For example behind ``| head``, or after a ``tee`` or an ssh connection has ended.
    Later prints are lost; log files still have them.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not hasattr(stream.write, 'forgives'):
            for name in ('write', 'flush'):
                setattr(stream, name, _forgiving(stream, getattr(stream, name)))


def _forgiving(stream: TextIO, method: Callable) -> Callable:
    """Return a method of a stream that discards output once writing fails."""

    def call(*text: str) -> Any:
        try:
            return method(*text)
        except BlockingIOError:
            pass  # a slow reader loses this text only
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # also for buffered text
            os.close(nowhere)
        return sum(map(len, text))

    vars(call)['forgives'] = True
    return call


def log_without_tracebacks(logger: logging.Logger) -> None:
    """Report a full disk once, in one line, instead of a traceback for each record."""
    told: set[str] = set()

    def report(handler: logging.FileHandler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if _is_lost_worker(error):
            pass  # PyTorch raises in any line, and again at the next batch
        elif not isinstance(error, OSError):
            logging.FileHandler.handleError(handler, record)
        elif handler.baseFilename not in told:
            told.add(handler.baseFilename)
            print(
                f'warning: {handler.baseFilename}: {error.strerror}. The run '
                'continues without these log lines until there is space.',
                file=sys.stderr,
            )

    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            vars(handler)['handleError'] = functools.partial(report, handler)
