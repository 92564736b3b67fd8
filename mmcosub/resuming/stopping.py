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
"""Exit status of a run that was stopped and can go on (EX_TEMPFAIL of sysexits.h)."""

LOST = 128
"""What is added to a signal's number for the status where nothing was saved, as shells
do for what a signal has ended."""

# SIGHUP is what a dropped connection sends.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


class Stopped(SystemExit):
    """Exception that ends a run after a signal.

    Args:
        message (str): Where it was saved and how to go on.
        lost (int): The signal, if nothing was saved. Defaults to 0: everything was.
    """

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(LOST + lost if lost else STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopRequest:
    """Handler that records the first signal; the second ends the process.

    As a context manager; outside of it, signals do what they did before.
    """

    # torchrun passes on what it gets, and Slurm gives it to both: one signal, twice.
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
            return  # a worker: it goes on until its run has done with it
        now = time.monotonic()
        if not self.received:
            self.received, self._since = number, now
            name = signal.Signals(number).name
            # It may have come while something else was printed, or nobody reads.
            with suppress(OSError, RuntimeError):
                print(
                    f'{name}: finishing this iteration, then saving. Once more ends '
                    'the run at once.',
                    flush=True,
                )
        elif 'TORCHELASTIC_RUN_ID' not in os.environ or now - self._since > self._ECHO:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)

    def agreed(self) -> int:
        """Return the number of a signal that any rank has received, or 0.

        All ranks must ask together.
        """
        if self._group is None:
            return self.received
        received = torch.tensor(self.received)
        distributed.all_reduce(received, distributed.ReduceOp.MAX, self._group)
        return int(received)
