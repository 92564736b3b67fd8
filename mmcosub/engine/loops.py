"""Training loops that go on exactly where they were, without loading what is passed."""

from numbers import Real
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.base_loop import BaseLoop
from torch.utils.data import DataLoader

from .batches import Batches, Unbegun, without_first
from .type_name import type_name

_VALIDATED = 'last_validation'
"""Where it is noted, for checkpoints, after which iteration was validated last."""


class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which can also go on within one.

    A run that was stopped between training and validation validates first. One that
    goes on with longer or shorter epochs does the same share of the one it was in.
    """

    _BEGUN = 'epoch_begun'
    """Where it is noted, for checkpoints, when the epoch began and how long it is."""

    _first = 0

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        self._first = self._batches_done()
        if not self._first and not _is_validated(self):
            _validate(self, self._epoch, self._max_epochs)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            _validate(self, self._epoch, self._max_epochs)
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        first, self._first = self._first, 0
        begun = dict(
            epoch=self._epoch, iter=self._iter - first, batches=len(self.dataloader)
        )
        self.runner.message_hub.update_info(self._BEGUN, begun)
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        # A complete epoch must not arm the skip: the next one would use it.
        if first < len(self.dataloader):
            for idx, data_batch in enumerate(
                without_first(self.dataloader, first), first
            ):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches_done(self) -> int:
        """How many batches of its epoch a resumed run need not train."""
        if not self._iter:
            return 0
        now = len(self.dataloader)
        begun = self.runner.message_hub.runtime_info.get(self._BEGUN)
        if begun is None:  # of MMEngine's own, whose epochs were perhaps as long
            done = self._iter - self._epoch * now
            if 0 <= done < now:
                return done
            self._say(f'{self._iter} iterations are no {self._epoch} epochs', 0)
            return 0
        before = begun['batches']
        # Of one that was complete the next has begun without a batch.
        done = self._iter - begun['iter'] if begun['epoch'] == self._epoch else 0
        if before == now:
            return done
        done = done * now // before
        self._say(f'An epoch was {before} batches', done)
        return done

    def _say(self, what: str, done: int) -> None:
        self.runner.logger.warning(
            f'{what}, and one is {len(self.dataloader)} batches now: going on behind '
            f'batch {done} of epoch {self._epoch + 1}.'
        )


class ResumableIterLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations, with any sampler.

    A run that was stopped between training and validation validates first.

    Args:
        *args: Arguments of ``IterBasedTrainLoop``.
        **kwargs: Further ones.
    """

    dataloader: Any

    def __init__(
        self, runner: Any, dataloader: DataLoader | dict, *args: Any, **kwargs: Any
    ) -> None:
        BaseLoop.__init__(self, runner, dataloader)
        loader = self.dataloader
        # OpenMMLab's own mmengine begins to load in here, before a resumed run can say
        # what it need not load.
        unbegun: Any = Unbegun(loader)
        super().__init__(runner, unbegun, *args, **kwargs)
        self.dataloader = loader
        self.dataloader_iterator: Any = Batches(loader)

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        # OpenMMLab's own mmengine knows no such setting.
        if self._iter and not getattr(self, 'fast_forward_on_resume', False):
            self.dataloader_iterator.skip(self._iter)
        if not _is_validated(self):
            _validate(self, self._iter, self._max_iters)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            _validate(self, self._iter, self._max_iters)
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


def _validate(loop: Any, done: int, last: int) -> None:
    """Validate if it is due after so many epochs or iterations."""
    loop._decide_current_val_interval()
    due = done % loop.val_interval == 0 or done == last
    if loop.runner.val_loop is not None and done >= loop.val_begin and due:
        loop.runner.val_loop.run()
        loop.runner.message_hub.update_info(_VALIDATED, loop.iter)


def _is_validated(loop: Any) -> bool:
    """False if a resumed run was stopped between an iteration and its validation.

    Twice would be wrong, as schedules such as ReduceOnPlateau step after validations.
    """
    info = loop.runner.message_hub.runtime_info
    return loop.iter in (0, info.get(_VALIDATED))


_RESUMABLE = {
    'EpochBasedTrainLoop': ResumableEpochLoop,
    'IterBasedTrainLoop': ResumableIterLoop,
}


_NO_VALIDATION = (
    ' To train without validation: val_cfg=None, val_dataloader=None, '
    'val_evaluator=None.'
)


def resumable(loop: dict) -> dict:
    """Config of the loop that stands for one of MMEngine's; others as they are.

    Args:
        loop (dict): Config of a training loop.

    Raises:
        ValueError: If one of MMEngine's is to train or to validate after no step.
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
