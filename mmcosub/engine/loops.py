"""Training loops that go on exactly where they were, without loading what is passed."""

from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.runner.loops import _InfiniteDataloaderIterator

from .counted_seeds import CountedBatches


class ResumableEpochLoop(EpochBasedTrainLoop):
    """MMEngine's loop over epochs, which can also go on within one.

    A run that was stopped between training and validation validates first.
    """

    def run(self) -> Any:
        """Train."""
        self.runner.call_hook('before_train')
        if self._iter and not self._iterations_into_epoch():
            self._validate_if_due()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due()
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        first = self._iterations_into_epoch()
        batches = getattr(self.dataloader, 'batch_sampler', None)
        if first and isinstance(batches, CountedBatches):
            batches.skip(first)
        if first < len(self.dataloader):
            for idx, data_batch in enumerate(self.dataloader, first):
                self.run_iter(idx, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _iterations_into_epoch(self) -> int:
        return max(self._iter - self._epoch * len(self.dataloader), 0)

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


def resumable(loop: dict) -> dict:
    """Config of the loop that stands for one of MMEngine's; others as they are.

    Args:
        loop (dict): Config of a training loop.

    Raises:
        ValueError: If it is to validate every so many that are none.
    """
    loop = dict(loop)
    interval = loop.get('val_interval', 1)
    if not isinstance(interval, int) or interval < 1:
        raise ValueError(
            f'train_cfg.val_interval must be a whole number of 1 or more, not '
            f'{interval!r}. To train without validation: val_cfg=None, '
            'val_dataloader=None, val_evaluator=None.'
        )
    if 'by_epoch' in loop and 'type' not in loop:
        by_epoch = loop.pop('by_epoch')
        return {**loop, 'type': ResumableEpochLoop if by_epoch else ResumableIterLoop}
    kind = loop.get('type')
    if kind in ('EpochBasedTrainLoop', EpochBasedTrainLoop):
        return {**loop, 'type': ResumableEpochLoop}
    if kind in ('IterBasedTrainLoop', IterBasedTrainLoop):
        return {**loop, 'type': ResumableIterLoop}
    return loop
