from collections import deque
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmcosub.checkpoints.writing import remove_partial, write_pointer
from mmcosub.registry import HOOKS


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, of which a kill or a full disk leaves one whole.

    MMEngine's own deletes the older checkpoints before it writes the new one. This one
    deletes them after the new one is on disk, was read back and is named by
    ``last_checkpoint``. Only then the run takes it for its last one, too.

    Besides it keeps the gradients of an accumulation that is not complete, and can
    save between any two iterations.

    Args:
        **kwargs: Arguments of ``CheckpointHook``.

    Raises:
        ValueError: If it has no such argument, or a number is none.
    """

    file_backend: Any
    keep_ckpt_ids: Any
    GRADIENTS = 'accumulated_gradients'
    _STOPPED = 'stopped_ckpt'

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.args:  # which saving would stumble over
            raise ValueError(f'default_hooks.checkpoint has no setting {[*self.args]}.')
        for name in ('interval', 'max_keep_ckpts'):
            if not isinstance(getattr(self, name), int):
                raise ValueError(
                    f'default_hooks.checkpoint.{name} must be a whole number, not '
                    f'{getattr(self, name)!r}.'
                )

    def before_train(self, runner: Runner) -> None:
        """Clear away what a killed run left half-written."""
        super().before_train(runner)
        self._pending: dict[str, Any] = {}
        if is_main_process() and '://' not in str(self.out_dir):
            remove_partial(self.out_dir)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put into the file what will hold once it is written."""
        info = checkpoint['message_hub']['runtime_info']
        info.update(self._pending.get('info', {}))
        gradients = self._pending.get('gradients')
        if gradients and 'optimizer' in checkpoint:
            checkpoint[self.GRADIENTS] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take up the gradients of an accumulation that was not complete."""
        if runner._resume and self.GRADIENTS in checkpoint:
            restore_gradients(runner, checkpoint[self.GRADIENTS])

    def save_now(self, runner: Runner) -> str:
        """Save between two iterations, unless that has just been done.

        Args:
            runner (Runner): Of a training with ``runner.iter`` iterations done.

        Returns:
            str: The checkpoint.
        """
        done = dict(epoch=runner.epoch, iter=runner.iter)
        if self.last_ckpt is None or self._saved_after != runner.iter:
            if not self.by_epoch:
                self._save_checkpoint_with_step(runner, runner.iter, done)
            else:
                name = f'epoch_{runner.epoch}_iter_{runner.iter}.pth'
                self._save(runner, name, done, {self._STOPPED: name}, [])
        return str(self.last_ckpt)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        info: dict[str, Any] = {}
        outdated: list[str] = []
        if self.max_keep_ckpts > 0:
            steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
            # In the file all of them: it is there before any is deleted, and what a
            # kill then leaves over is deleted when the run is resumed.
            info['keep_ckpt_ids'] = steps
            outdated = [
                self.filename_tmpl.format(s) for s in steps[: -self.max_keep_ckpts]
            ]
        self._save(runner, self.filename_tmpl.format(step), meta, info, outdated)
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids = deque(steps[-self.max_keep_ckpts :])
            runner.message_hub.update_info('keep_ckpt_ids', [*self.keep_ckpt_ids])

    def _save(
        self, runner: Runner, name: str, meta: dict, info: dict, outdated: list[str]
    ) -> None:
        """Write a checkpoint, then the pointer to it, then delete what is outdated."""
        path = self.file_backend.join_path(self.out_dir, name)
        hub = runner.message_hub
        stopped = hub.runtime_info.get(self._STOPPED)
        if stopped and stopped != name:  # of use until there is a regular one
            outdated = [*outdated, stopped]
        info = {self._STOPPED: None, **info, 'last_ckpt': path}
        self._pending = dict(info=info, gradients=collect_gradients(runner))
        try:
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
        finally:
            self._pending = {}
        hub.update_info_dict(info)
        self.last_ckpt = path
        self._saved_after = meta['iter']
        if is_main_process():
            write_pointer(runner.work_dir, path)
            for old in outdated:
                self._delete(self.file_backend.join_path(self.out_dir, old))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        backend = self.file_backend
        later = _DeleteLater(backend)
        self.file_backend = later
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        now = {getattr(self, 'best_ckpt_path', None)}
        now |= {*getattr(self, 'best_ckpt_path_dict', {}).values()}
        for path in set(later.paths) - now:
            self._delete(path)

    def _delete(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # of DeepSpeed
            self.file_backend.rmtree(path)


class _DeleteLater:
    """A file backend that only notes what it is to delete."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, path: str) -> None:
        self.paths.append(path)

    rmtree = remove


def collect_gradients(runner: Runner) -> list[dict] | None:
    """Gradients of an accumulation that is not complete, one dict a rank.

    Every rank has its own until they are exchanged. None where there are none.

    Args:
        runner (Runner): The runner.
    """
    wrapper: Any = runner.optim_wrapper
    counts = getattr(wrapper, '_accumulative_counts', 1)
    if counts == 1 or wrapper._inner_count % counts == 0:
        return None
    own = {
        name: parameter.grad.cpu()
        for name, parameter in _parameters(runner)
        if parameter.grad is not None
    }
    return all_gather_object(own)  # NCCL cannot gather objects on one rank


def restore_gradients(runner: Runner, gradients: list[dict]) -> None:
    """The inverse of :func:`collect_gradients`.

    Args:
        runner (Runner): The runner, its model on its device.
        gradients (list[dict]): Of each rank. On another number of ranks each takes
            their mean, which is what they would have exchanged.
    """
    if len(gradients) == runner.world_size:
        own = gradients[runner.rank]
    else:
        names = {name for each in gradients for name in each}
        zero = 0.0
        own = {
            name: sum((g.get(name, zero) for g in gradients), zero) / len(gradients)
            for name in names
        }
    for name, parameter in _parameters(runner):
        if name in own:
            parameter.grad = own[name].to(parameter)


def _parameters(runner: Runner) -> Iterator[tuple[str, nn.Parameter]]:
    model: Any = runner.model
    model = model.module if is_model_wrapper(model) else model
    return model.named_parameters()
