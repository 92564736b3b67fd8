"""Stopping of a run on all ranks at once, between two iterations, after a signal."""

import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import torch
from mmengine.dist import is_distributed
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import distributed

from mmcosub.registry import HOOKS

from .checkpoint_hook import WholeCheckpointHook

STATUS = 75
"""Exit status of a stopped run that can be resumed (EX_TEMPFAIL of sysexits.h)."""

LOST = 128
"""Added to the signal's number in the exit status if nothing was saved, as in
shells."""

# A dropped connection sends SIGHUP. Windows has only the first two.
_NAMES = ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP')
SIGNALS = [signal.Signals[n] for n in _NAMES if hasattr(signal, n)]
# torchrun forwards signals, and Slurm sends them to both: one signal arrives twice,
# within so many seconds.
_ECHO = 1.0


class Stopped(SystemExit):
    """Exception that ends a run after a signal; ``lost``, if nothing was saved."""

    def __init__(self, message: str, lost: int = 0) -> None:
        super().__init__(LOST + lost if lost else STATUS)
        self.message = message

    def __str__(self) -> str:
        return self.message


class StopRequest:
    """Handler that records the first signal; the second ends the process.

    A context manager; on exit, the previous handlers are restored.
    """

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
                ignored = signal.getsignal(number) == signal.SIG_IGN
                if not (ignored and number.name == 'SIGHUP'):  # by nohup
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
            # The signal may interrupt another print, or the output may be closed.
            with suppress(OSError, RuntimeError):
                print(
                    f'{signal.Signals(number).name}: finishing this iteration, then '
                    'saving. A second signal ends the run immediately.',
                    flush=True,
                )
        elif 'TORCHELASTIC_RUN_ID' not in os.environ or now - self._since > _ECHO:
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


@HOOKS.register_module()
class StopHook(Hook):
    """Hook that saves and ends a run between iterations after a signal.

    Args:
        request (StopRequest): Source of signals.
    """

    # Before any other hook of an iteration or validation.
    priority = 'VERY_HIGH'

    def __init__(self, request: StopRequest) -> None:
        self.request = request
        self._swapped: list[EMAHook] = []

    def before_train(self, runner: Runner) -> None:
        """Track which EMA hooks have swapped the averaged weights in.

        Each hook decides whether validation uses averaged weights: MMEngine's always
        does, mmpretrain's depends on its settings and may validate twice.
        """
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                vars(hook)['_swap_ema_parameters'] = partial(self._swap, hook)

    def _swap(self, hook: EMAHook) -> None:
        type(hook)._swap_ema_parameters(hook)
        if hook in self._swapped:
            self._swapped.remove(hook)
        else:
            self._swapped.append(hook)

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        self._look(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Check before a validation; a resumed run repeats it."""
        self._look(runner)

    def after_val_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        """Check during a validation, too, as it can take long."""
        # All ranks must ask equally often. A user's loop may have several loaders or
        # none.
        sampler = getattr(getattr(runner, 'val_dataloader', None), 'sampler', None)
        even = getattr(sampler, 'round_up', False)
        if (even or not runner.distributed) and self.request.agreed():
            self._look(runner)

    def _look(self, runner: Runner) -> None:
        number = self.request.agreed()
        if not number:
            return
        name = signal.Signals(number).name
        savers = [h for h in runner.hooks if isinstance(h, WholeCheckpointHook)]
        if not savers:
            raise Stopped(
                f'Stopped by {name} after {runner.iter} iterations. Nothing was saved, '
                "as default_hooks.checkpoint is off or not MMEngine's.",
                number,
            )
        if not runner.iter:
            raise Stopped(f'Stopped by {name} before the first iteration.')
        for hook in reversed([*self._swapped]):  # restore the trained weights
            hook._swap_ema_parameters()
        path = savers[0].save_now(runner)
        raise Stopped(
            f'Stopped by {name} after {runner.iter} iterations, saved in {path}. To '
            'continue, repeat the command with --resume.'
        )
