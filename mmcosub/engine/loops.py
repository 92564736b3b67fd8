"""Training loops that go on exactly where they were, without loading what is passed."""

from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator

from .counted_seeds import CountedBatches
from .type_name import type_name


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
        if self._iter and not self._first:
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
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
        batches = getattr(self.dataloader, 'batch_sampler', None)
        if first and isinstance(batches, CountedBatches):
            batches.skip(first)
        if first < len(self.dataloader):
            for idx, data_batch in enumerate(self.dataloader, first):
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

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs
        if self.runner.val_loop is not None and self._epoch >= self.val_begin and due:
            self.runner.val_loop.run()


class ResumableIterLoop(IterBasedTrainLoop):
    """MMEngine's loop over iterations, with any sampler.

    A run that was stopped between training and validation validates first.

    Args:
        *args: Arguments of ``IterBasedTrainLoop``.
        **kwargs: Further ones.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # This one, and not another beside it: in OpenMMLab's own mmengine it loads
        # already, and the endless sampler would end with the first of two.
        self.dataloader_iterator.__class__ = _Batches

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        if self._iter:
            # OpenMMLab's own mmengine knows no such setting.
            if not getattr(self, 'fast_forward_on_resume', False):
                self.dataloader_iterator.skip_iter(self._iter)
            self._validate_if_due()
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _validate_if_due(self) -> None:
        self._decide_current_val_interval()
        due = self._iter % self.val_interval == 0 or self._iter == self._max_iters
        if self.runner.val_loop is not None and self._iter >= self.val_begin and due:
            self.runner.val_loop.run()


class _Batches(_InfiniteDataloaderIterator):
    """Goes round a finite loader; skipping costs no data with any sampler.

    MMEngine's own loads what it skips, unless the sampler is its endless one.
    """

    def skip_iter(self, num_iters: int) -> None:
        batches = getattr(self._dataloader, 'batch_sampler', None)
        if not isinstance(batches, CountedBatches):
            super().skip_iter(num_iters)
            return
        sampler = getattr(batches, 'sampler', self._dataloader.sampler)
        if hasattr(sampler, 'skip'):  # it is endless
            batches.skip(num_iters)
            return
        self._epoch, within = divmod(num_iters, len(self._dataloader))
        if hasattr(sampler, 'set_epoch'):
            sampler.set_epoch(self._epoch)
        batches.skip(within)


_RESUMABLE = {
    'EpochBasedTrainLoop': ResumableEpochLoop,
    'IterBasedTrainLoop': ResumableIterLoop,
}


def resumable(loop: dict) -> dict:
    """Config of the loop that stands for one of MMEngine's; others as they are.

    Args:
        loop (dict): Config of a training loop.

    Raises:
        ValueError: If one of MMEngine's is to validate every so many that are none.
    """
    loop = dict(loop)
    name = type_name(loop)
    if 'by_epoch' in loop and 'type' not in loop:
        name = 'EpochBasedTrainLoop' if loop.pop('by_epoch') else 'IterBasedTrainLoop'
    if name not in _RESUMABLE:
        return loop
    interval = loop.get('val_interval', 1)
    if not isinstance(interval, int) or interval < 1:
        raise ValueError(
            f'train_cfg.val_interval must be a whole number of 1 or more, not '
            f'{interval!r}. To train without validation: val_cfg=None, '
            'val_dataloader=None, val_evaluator=None.'
        )
    return {**loop, 'type': _RESUMABLE[name]}
