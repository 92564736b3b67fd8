import re
from pathlib import Path, PurePath
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmcosub.files import (
    begin_run,
    remove_partial,
    write_pointer,
    written_earlier,
    written_in,
)
from mmcosub.registry import HOOKS

from .run_state import (
    GRADIENTS,
    VALIDATED,
    add_state,
    collect_gradients,
    restore_state,
)

_STOPPED = re.compile(r'epoch_\d+_iter_\d+\.pth')


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """``CheckpointHook`` that keeps an intact checkpoint at every moment.

    MMEngine deletes older checkpoints before it writes a new one. Here they are deleted
    after the new one is on disk, verified and named by ``last_checkpoint``. Only files
    that this run has written are deleted (:func:`mmcosub.files.written_in`).

    The hook also saves the gradients of an unfinished accumulation and the end of a run
    that stops early, and can save between any two iterations. Arguments are those of
    ``CheckpointHook``.

    Raises:
        ValueError: If an argument is unknown or invalid.
    """

    file_backend: Any = None
    last_ckpt: str | None
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]
    save_optimizer: bool
    save_param_scheduler: bool
    _saved_after: tuple = (-1, None)
    """Iteration of the newest checkpoint, and of the last validation before it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.args:  # saving would fail on them
            raise ValueError(f'default_hooks.checkpoint has no setting {[*self.args]}.')
        for name, also in (('interval', 1), ('max_keep_ckpts', -1)):
            number = kwargs.get(name, 1)
            if type(number) is not int or (number < 1 and number != also):
                raise ValueError(
                    f'default_hooks.checkpoint.{name} must be a whole number of 1 or '
                    f'more, not {number!r}. Without it, only the last checkpoint is '
                    'saved (interval), or all are kept (max_keep_ckpts).'
                )
        try:
            name = self.filename_tmpl.format(1)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            name = ''
        if not name.strip() or '\n' in name or PurePath(name).name != name:
            raise ValueError(
                f'default_hooks.checkpoint.filename_tmpl={self.filename_tmpl!r} must '
                "be the name of a file, with {} for the number, such as 'iter_{}.pth'. "
                'The folder is default_hooks.checkpoint.out_dir.'
            )
        # Of the checkpoint that is being written, and names of those written.
        self._info: dict[str, Any] = {}
        self._gradients: list[dict] | None = None
        self._remote: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Check that checkpoints will be saved; delete what a killed run left."""
        total = runner.max_epochs if self.by_epoch else runner.max_iters
        unit = 'epochs' if self.by_epoch else 'iterations'
        first = self.save_begin or self.interval
        # MMEngine counts epochs by default, and a training by iterations has one.
        counts = self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop)
        if not 0 < first <= total and (not self.save_last or (counts and first > 0)):
            raise ValueError(
                f'A training of {total} {unit} would leave no checkpoint before its '
                f'end (the first is due at {first}): set another default_hooks.'
                'checkpoint.interval, by_epoch=False for iterations, or save_last=True.'
            )
        for name in ('save_optimizer', 'save_param_scheduler'):
            if not getattr(self, name):
                runner.logger.warning(
                    'Checkpoints of this run cannot be resumed, except those of a stop '
                    f'by a signal: default_hooks.checkpoint.{name}=False.'
                )
        info = runner.message_hub.runtime_info
        info.pop('keep_ckpt_ids', None)  # MMEngine would delete these
        super().before_train(runner)
        if is_main_process() and self._is_local():
            path = Path(getattr(runner, '_load_from', None) or '').resolve()
            of_run = runner._resume and path.parent == Path(self.out_dir).resolve()
            remove_partial(self.out_dir)
            begin_run(self.out_dir, path.name if of_run else '')
            self._delete_outdated(path.name)
            others = written_earlier(self.out_dir)
            if others and not runner._resume:
                runner.logger.warning(
                    f'{self.out_dir} has {len(others)} other checkpoints, and those '
                    'of the same names will be replaced: --resume continues their run.'
                )
        for key, path in _best(runner).items():
            del info[key]
            name = PurePath(str(path)).name
            if name.startswith('best_') and name in self._written():
                info[key] = self.file_backend.join_path(self.out_dir, name)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store in the file the state that holds after it is written."""
        checkpoint['message_hub']['runtime_info'].update(self._info)
        if self._gradients and 'optimizer' in checkpoint:
            checkpoint[GRADIENTS] = self._gradients
        add_state(runner, checkpoint)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume:
            restore_state(runner, checkpoint)

    def save_now(self, runner: Runner) -> str:
        """Save a resumable checkpoint between two iterations, unless just done."""
        complete = self.save_optimizer and self.save_param_scheduler
        if self._saved_after != (runner.iter, _validated(runner)) or not complete:
            name = self.filename_tmpl.format(runner.iter)
            if self.by_epoch:
                name = f'epoch_{runner.epoch}_iter_{runner.iter}.pth'
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save(runner, name, meta, complete=True)
        return str(self.last_ckpt)

    def after_train(self, runner: Runner) -> None:
        """Save the end of a run that ended early; then publish, as MMEngine."""
        ended = getattr(runner.train_loop, 'stop_training', False)
        if ended and self.save_last and self._saved_after[0] != runner.iter:
            # Resumed, the run repeats the validation that ended it.
            runner.message_hub.runtime_info.pop(VALIDATED, None)
            step = runner.epoch if self.by_epoch else runner.iter
            meta = dict(epoch=runner.epoch, iter=runner.iter)
            self._save_checkpoint_with_step(runner, step, meta)
        self.best_ckpt_path, self.best_ckpt_path_dict = None, _best(runner)
        super().after_train(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        self._save(runner, self.filename_tmpl.format(step), meta)

    def _save(
        self, runner: Runner, name: str, meta: dict, complete: bool = False
    ) -> None:
        """Write a checkpoint, update the pointer, then delete outdated ones."""
        path = self.file_backend.join_path(self.out_dir, name)
        info: dict[str, Any] = dict(last_ckpt=path)
        if self.max_keep_ckpts > 0:  # for resuming with MMEngine
            steps = [self._step(each) for each in [*self._written(), name]]
            kept = [step for step in dict.fromkeys(steps[::-1]) if step is not None]
            info['keep_ckpt_ids'] = kept[: self.max_keep_ckpts][::-1]
        self._info, self._gradients = info, collect_gradients(runner)
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=complete or self.save_optimizer,
                save_param_scheduler=complete or self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
            )
        finally:
            self._info, self._gradients = {}, None
        runner.message_hub.update_info_dict(info)
        self.last_ckpt = path
        self._saved_after = meta['iter'], _validated(runner)
        if is_main_process():
            write_pointer(runner.work_dir, path)
            self._remote.append(name)
            self._delete_outdated(name)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best or self.file_backend is None:
            return  # validated without having trained
        # MMEngine would delete these before the new ones are written.
        self.best_ckpt_path = None
        self.best_ckpt_path_dict = dict.fromkeys(self.key_indicators)
        # And then save the run again, in the middle of the validation: resumed, its
        # schedules would step for this validation twice.
        last, self.last_ckpt = self.last_ckpt, None
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt = last
        now = {PurePath(path).name for path in _best(runner).values()}
        self._remote += now
        if is_main_process():
            keys = tuple(f'best_{k.replace("/", "_")}_' for k in self.key_indicators)
            for name in {*self._written()} - now:
                if name.startswith(keys):
                    self._delete(name)

    def _is_local(self) -> bool:
        return isinstance(self.file_backend, LocalBackend)

    def _written(self) -> list[str]:
        """Return checkpoints that may be deleted: those that this run wrote."""
        return written_in(self.out_dir) if self._is_local() else [*self._remote]

    def _delete_outdated(self, current: str) -> None:
        """Keep ``max_keep_ckpts``; delete older ones and those of signals."""
        written = self._written()
        regular = [name for name in written if self._step(name) is not None]
        stopped = [name for name in written if _STOPPED.fullmatch(name)]
        outdated = regular[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        for name in {*outdated, *stopped} - {current}:
            self._delete(name)

    def _step(self, name: str) -> int | None:
        """Return the epoch or iteration in a regular checkpoint's name, or None."""
        for number in ['0', *re.findall(r'\d+', name)]:
            if self.filename_tmpl.format(int(number)) == name:
                return int(number)
        return None

    def _delete(self, name: str) -> None:
        path = self.file_backend.join_path(self.out_dir, name)
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        if name in self._remote:
            self._remote.remove(name)


def _best(runner: Runner) -> dict[str, Any]:
    """Return the best checkpoints, by their keys in the message hub."""
    info = runner.message_hub.runtime_info
    return {k: v for k, v in info.items() if str(k).startswith('best_ckpt')}


def _validated(runner: Runner) -> int | None:
    """Return the iteration of the last validation that has ended."""
    return runner.message_hub.runtime_info.get(VALIDATED)
