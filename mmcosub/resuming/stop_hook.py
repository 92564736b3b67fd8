import signal
from functools import partial
from typing import Any

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner

from mmcosub.registry import HOOKS

from .checkpoint_hook import WholeCheckpointHook


@HOOKS.register_module()
class StopHook(Hook):
    """Hook that saves and ends a run between iterations after a signal.

    Args:
        request (StopRequest): Source of signals.
        stopped (type): Exception class; takes a message and, if nothing was saved, the
            signal.
    """

    # Before any other hook of an iteration or validation.
    priority = 'VERY_HIGH'

    def __init__(self, request: Any, stopped: type[BaseException]) -> None:
        self.request = request
        self.stopped = stopped
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

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Check between two iterations."""
        self._look(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Check before a validation; a resumed run repeats it."""
        self._look(runner)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
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
            raise self.stopped(
                f'Stopped by {name} after {runner.iter} iterations. Nothing was saved, '
                "as default_hooks.checkpoint is off or not MMEngine's.",
                number,
            )
        if not runner.iter:
            raise self.stopped(f'Stopped by {name} before the first iteration.')
        for hook in reversed([*self._swapped]):  # restore the trained weights
            hook._swap_ema_parameters()
        path = savers[0].save_now(runner)
        raise self.stopped(
            f'Stopped by {name} after {runner.iter} iterations, saved in {path}. To '
            'continue, repeat the command with --resume.'
        )
