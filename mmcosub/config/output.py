"""Output to closed pipes and full disks that does not end a run."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO


def outlive_readers() -> None:
    """Continue the process when its output cannot be written.

    For example behind ``| head``, or after a ``tee`` or an ssh connection has ended.
    Later prints are lost; log files still have them.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(getattr(stream, 'write', None), _Forgiving) or stream is None:
            continue
        for name in ('write', 'flush'):
            setattr(stream, name, _Forgiving(stream, getattr(stream, name)))


class _Forgiving:
    """Method of a stream that discards output once writing fails."""

    def __init__(self, stream: TextIO, method: Callable) -> None:
        self.stream = stream
        self.method = method

    def __call__(self, *text: str) -> Any:
        try:
            return self.method(*text)
        except BlockingIOError:
            pass  # a slow reader loses this text only
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # also for buffered text
            os.close(nowhere)
        return sum(map(len, text))


def log_without_tracebacks(logger: logging.Logger) -> None:
    """Report a full disk once, in one line, instead of a traceback.

    Python's own logging prints a traceback for each record.
    """
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            vars(handler)['handleError'] = _Once(handler)


class _Once:
    """``handleError`` of a file handler that prints only its first error."""

    def __init__(self, handler: logging.FileHandler) -> None:
        self.handler = handler
        self.told = False

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.FileHandler.handleError(self.handler, record)
        elif not self.told:
            self.told = True
            print(
                f'warning: {self.handler.baseFilename}: {error.strerror}. The run '
                'continues without these log lines until there is space.',
                file=sys.stderr,
            )
