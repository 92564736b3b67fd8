"""Training loops that resume exactly, without loading batches that are done."""

from numbers import Real
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader, Subset

from mmcosub.names import type_name

from .batches import endless_batches, without_first
from .run_state import VALIDATED


class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs; resumes also within an epoch.

    A run that was stopped between training and validation validates first. If the epoch
    length has changed, the current epoch continues at the same fraction.
    """

    _BEGUN = 'epoch_begun'
    """Key in checkpoints for the epoch's start and length."""

    _first = 0

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        self._first = self._batches_done()
        if not self._first:
            _validate(self, self._epoch, self._max_epochs, resumed=True)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            _validate(self, self._epoch, self._max_epochs)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch or the rest of it."""
        first, self._first = self._first, 0
        length = len(self.dataloader)
        begun = dict(epoch=self._epoch, iter=self._iter - first, batches=length)
        self.runner.message_hub.update_info(self._BEGUN, begun)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        # A complete epoch must not arm the skip: the next one would use it.
        if first < length:
            rest = without_first(self.dataloader, first)
            for idx, data_batch in enumerate(rest, first):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_done(self) -> int:
        """Return the number of batches of the epoch that are already trained."""
        if not self._iter:
            return 0
        now = len(self.dataloader)
        begun = self.runner.message_hub.runtime_info.get(self._BEGUN)
        if begun is None:  # a checkpoint of MMEngine; assume equal epochs
            done = self._iter - self._epoch * now
            if 0 <= done < now:
                return done
            what, done = f'{self._iter} iterations are no {self._epoch} epochs', 0
        else:
            before = begun['batches']
            # After a complete epoch, the next one is at batch 0.
            done = self._iter - begun['iter'] if begun['epoch'] == self._epoch else 0
            if before == now:
                return done
            what, done = f'An epoch was {before} batches', done * now // before
        self.runner.logger.warning(
            f'{what}, and one is {now} batches now: continuing after batch {done} of '
            f'epoch {self._epoch + 1}.'
        )
        return done


class ResumableIterLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations, with any sampler.

    A run that was stopped between training and validation validates first.
    """

    dataloader: Any

    def __init__(
        self, runner: Any, dataloader: DataLoader | dict, *args: Any, **kwargs: Any
    ) -> None:
        BaseLoop.__init__(self, runner, dataloader)
        loader = self.dataloader
        # OpenMMLab's mmengine starts loading here, before a resumed run can skip
        # batches.
        nothing: Any = Subset(loader.dataset, ())
        super().__init__(runner, nothing, *args, **kwargs)
        self.dataloader = loader

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        # OpenMMLab's mmengine has no such setting.
        skips = not getattr(self, 'fast_forward_on_resume', False)
        done = self._iter if skips else 0
        self.dataloader_iterator: Any = endless_batches(self.dataloader, done)
        _validate(self, self._iter, self._max_iters, resumed=True)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            _validate(self, self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


def _validate(loop: Any, done: int, last: int, resumed: bool = False) -> None:
    """Validate if it is due; ``resumed``, only if the run was stopped just before.

    It must not run twice: schedules such as ReduceOnPlateau step after validations.
    """
    hub = loop.runner.message_hub
    if resumed and loop.iter in (0, hub.runtime_info.get(VALIDATED)):
        return
    loop._decide_current_val_interval()
    due = done % loop.val_interval == 0 or done == last
    if loop.runner.val_loop is not None and done >= loop.val_begin and due:
        loop.runner.val_loop.run()
        hub.update_info(VALIDATED, loop.iter)


_RESUMABLE = {
    'EpochBasedTrainLoop': ResumableEpochLoop,
    'IterBasedTrainLoop': ResumableIterLoop,
}
_NO_VALIDATION = (
    ' To train without validation: val_cfg=None, val_dataloader=None, '
    'val_evaluator=None.'
)


def resumable(loop: dict) -> dict:
    """Return the resumable counterpart of a loop's config; others unchanged.

    Raises:
        ValueError: If a length or interval of one of MMEngine's loops is below 1.
    """
    loop = dict(loop)
    name = type_name(loop)
    if 'by_epoch' in loop and 'type' not in loop:
        name = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
    if name not in _RESUMABLE:
        return loop
    for key in ('max_epochs', 'max_iters', 'val_interval'):
        value = loop.get(key, 1)
        if not isinstance(value, Real) or value < 1 or value % 1:
            raise ValueError(
                f'train_cfg.{key} must be a whole number of 1 or more, not {value!r}.'
                + _NO_VALIDATION * (key == 'val_interval')
            )
    return {**loop, 'type': _RESUMABLE[name]}
