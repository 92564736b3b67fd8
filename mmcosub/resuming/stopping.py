"""Stopping of a run on all ranks at once, between two iterations, after a signal."""

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any

import torch
from mmengine.dist import is_distributed
from torch import distributed

STATUS = 75
"""Exit status of a stopped run that can be resumed (EX_TEMPFAIL of sysexits.h)."""

LOST = 128
"""Added to the signal's number in the exit status if nothing was saved, as in
shells."""

# A dropped connection sends SIGHUP.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Stopped(SystemExit):
    """Exception that ends a run after a signal.

    Args:
        message (str): File that was saved and how to continue.
        lost (int): The signal, if nothing was saved. Defaults to 0: saved.
    """

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(LOST + lost if lost else STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopRequest:
    """Handler that records the first signal; the second ends the process.

    A context manager; on exit, the previous handlers are restored.
    """

    # torchrun forwards signals, and Slurm sends them to both: one signal arrives twice.
    _ECHO = 1.0

    def __init__(self) -> None:
        self.received: int = 0
        self._group: Any = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> 'StopRequest':
        if is_distributed():
            self._group = distributed.new_group(backend='gloo')
        if threading.current_thread() is threading.main_thread():
            self._process = os.getpid()
            for number in SIGNALS:
                if (
                    number == signal.SIGHUP
                    and signal.getsignal(number) == signal.SIG_IGN
                ):
                    continue  # nohup
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a data-loading worker, ended by its parent
        now = time.monotonic()
        if not self.received:
            self.received, self._since = number, now
            name = signal.Signals(number).name
            # The signal may interrupt another print, or the output may be closed.
            with suppress(OSError, RuntimeError):
                print(
                    f'{name}: finishing this iteration, then saving. A second '
                    'signal ends the run immediately.',
                    flush=True,
                )
        elif 'TORCHELASTIC_RUN_ID' not in os.environ or now - self._since > self._ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)

    def agreed(self) -> int:
        """Return the number of a signal that any rank has received, or 0.

        Collective: all ranks must call it.
        """
        if self._group is None:
            return self.received
        received = torch.tensor(self.received)
        distributed.all_reduce(received, distributed.ReduceOp.MAX, self._group)
        return int(received)
