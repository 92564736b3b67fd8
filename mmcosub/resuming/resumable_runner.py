import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process, master_only
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from mmcosub.checkpoints import read_checkpoint, state_dict
from mmcosub.checkpoints.latest import corruption, newest_intact, pointed_checkpoint
from mmcosub.checkpoints.safe_objects import foreign_objects
from mmcosub.config.unread import drop_overridden
from mmcosub.files import (
    PARTIAL,
    atomic_write,
    note_written,
    require_local,
    write_pointer,
)
from mmcosub.names import type_name

from .resume_checks import (
    KEY,
    check_schedules,
    check_state,
    differences,
    fingerprint,
    fingerprint_in,
    is_built,
    states_of,
)
from .run_state import can_replay, replay_schedules
from .seeded_runner import SeededRunner
from .stopping import StopHook, StopRequest
from .work_dir import end_with_torchrun, locked


class ResumableRunner(SeededRunner, Runner):
    """MMEngine's runner with exact resuming after kills and signals.

    A resumed run continues as if it had not been interrupted, bit-exactly on a CPU.
    Random numbers are seeded per iteration, so no random state is saved. Checkpoints
    are written atomically and read without executing code.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._resumed: dict | None = None
        self._load_from: str | None
        self._randomness_cfg: dict[str, Any]
        require_local(kwargs.get('work_dir') or args[1])
        end_with_torchrun()
        super().__init__(*args, **kwargs)

    def train(self) -> nn.Module:
        """Train; resume first if asked for.

        Raises:
            ValueError: If the checkpoint is corrupt or of another run, or the work
                directory is in use.
            Stopped: If a signal has ended the run, after saving.
        """
        with ExitStack() as stack:
            for folder in (self.work_dir, *self._other_folders()):
                stack.enter_context(locked(folder, self.logger.warning))
            stack.enter_context(self.checked())
            drop_overridden(self.cfg)
            super().dump_config()
            hook = StopHook(stack.enter_context(StopRequest()))
            if self._resume:
                self._open_resumed()
                self._schedules = copy.deepcopy(self.param_schedulers)
            self.register_hook(hook)
            stack.callback(self._hooks.remove, hook)
            return super().train()

    def checked(self) -> AbstractContextManager:
        """Return a context to train in, once the work directory is this run's."""
        return nullcontext()

    def _other_folders(self) -> Iterator[str]:
        """Yield local folders of checkpoints outside of the work directory."""
        outs = [h.out_dir for h in self._hooks if isinstance(h, CheckpointHook)]
        for out in outs:
            if out and '://' not in out and out != self.work_dir:
                yield str(Path(out, Path(self.work_dir).name))  # as MMEngine

    def dump_config(self) -> None:
        """Do nothing until :meth:`train`, when the work directory is this run's."""

    def register_hook(self, hook: Hook | dict, *args: Any, **kwargs: Any) -> None:
        """Register a hook; replace MMEngine's ``CheckpointHook``."""
        if isinstance(hook, dict) and type_name(hook) == 'CheckpointHook':
            hook = {**hook, 'type': 'mmcosub.WholeCheckpointHook'}
        super().register_hook(hook, *args, **kwargs)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build schedules; raise if they wait for epochs that the training has not."""
        built = super().build_param_scheduler(scheduler)
        counts = isinstance(self._train_loop, IterBasedTrainLoop)
        for _, state in states_of(built):
            if counts and state.get('by_epoch') and 'monitor' not in state:
                raise ValueError(
                    'A schedule of param_scheduler counts epochs (by_epoch=True), but '
                    'the training iterations, so it would change nothing. Set '
                    'by_epoch=False, and begin, end, T_max, milestones in iterations.'
                )
        return built

    def _open_resumed(self) -> None:
        """Read the checkpoint to resume before anything is built from it."""
        latest = self._load_from is None
        if latest:
            found: list[Any] = [None]
            if is_main_process():
                found = [newest_intact(self.work_dir, self.logger.warning)]
            broadcast_object_list(found)
            self._load_from = str(found[0]) if found[0] else None
        if self._load_from is None:
            self.logger.info(f'No checkpoint in {self.work_dir}: the run starts.')
            self._resume = False
            return
        self.logger.info(f'Resuming {self._load_from}')
        checkpoint = read_checkpoint(self._load_from, 'cpu', self.trusts)
        check_state(checkpoint, self._load_from)
        self._compare(checkpoint)
        pointed = pointed_checkpoint(self.work_dir)
        if latest and is_main_process() and pointed != Path(self._load_from):
            write_pointer(self.work_dir, self._load_from)  # not yet updated
        seed = checkpoint['meta'].get('seed')
        if seed is not None and self._randomness_cfg.get('seed') is None:
            self._randomness_cfg = {**self._randomness_cfg, 'seed': seed}
            self.set_randomness(**self._randomness_cfg)
        self._resumed = checkpoint

    def _compare(self, checkpoint: dict) -> None:
        """Raise if a checkpoint is of a different run."""
        saved, now = fingerprint_in(checkpoint), self._fingerprint()
        seed = self._randomness_cfg.get('seed')
        if seed is not None:  # otherwise the checkpoint's is used
            saved['seed'] = checkpoint['meta'].get('seed')
            now['seed'] = seed
        saved['EMAHook'] = 'ema_state_dict' in checkpoint
        now['EMAHook'] = any(isinstance(hook, EMAHook) for hook in self.hooks)
        different = differences(saved, now)
        if not different:
            return
        said = f'{self._load_from} is of another run: {"; ".join(different)}.'
        if not self.cfg.get('allow_changes'):
            raise ValueError(
                f'{said} Use its settings, or continue with these changes by '
                '--allow-changes.'
            )
        if any(each.startswith('optimizer') for each in different):
            said += ' The optimizer keeps the settings in the checkpoint.'
        self.logger.warning(f'{said} Continuing with these changes.')
        if seed is not None:
            checkpoint['meta']['seed'] = seed
        if saved['EMAHook'] > now['EMAHook']:  # the average is in place of the weights
            checkpoint['state_dict'] = state_dict(checkpoint, which='model')
        hub = checkpoint['message_hub']
        info, resumed = hub['runtime_info'], hub['resumed_keys']
        if any(each.startswith(('scheme', 'co_trained', 'seed')) for each in different):
            info.pop('co_training_plans', None)
        # Log only this run's values.
        hub['log_scalars'] = {}
        hub['resumed_keys'] = {key: resumed[key] for key in resumed if key in info}

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = 'default',
    ) -> None:
        """Resume; schedules with other settings than the checkpoint's are replayed."""
        different = ''
        if self._resumed:
            saved = self._resumed.get('param_schedulers')
            different = check_schedules(saved, self.param_schedulers, filename)
        replays = bool(different) and can_replay(self._schedules)
        resume_param_scheduler &= not replays
        super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        if different:
            how = (
                "The checkpoint's continue, and keep their last value after their end."
            )
            if replays:
                how = "The config's are used, as if from the start of the run."
                replay_schedules(self, self._schedules)
            said = f'Schedules of {filename} have other settings: {different}. {how}'
            self.logger.warning(said)

    def _fingerprint(self) -> dict[str, Any]:
        loader: Any = self._train_dataloader
        read: Any = dict.get if isinstance(loader, dict) else getattr
        batch = read(loader, 'batch_size', None) or 0
        return fingerprint(self.cfg, batch, self.world_size)

    @master_only
    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Save a checkpoint with the run's fingerprint, atomically.

        The arguments are those of MMEngine. State of an optimizer or of schedules is
        saved if they are built. Raises an ``OSError`` if the file cannot be written or
        read back.
        """
        kwargs |= dict(
            file_client_args=file_client_args,
            save_optimizer=save_optimizer
            and isinstance(self.optim_wrapper, OptimWrapper),
            save_param_scheduler=save_param_scheduler
            and is_built(self.param_schedulers),
            meta={**(meta or {}), KEY: self._fingerprint()},
        )
        backend = get_file_backend(out_dir, backend_args=kwargs.get('backend_args'))
        if file_client_args or not isinstance(backend, LocalBackend):
            super().save_checkpoint(out_dir, filename, **kwargs)
            return
        path = backend.join_path(out_dir, filename)
        note_written(out_dir, filename)
        with atomic_write(path) as partial:
            super().save_checkpoint(out_dir, filename + PARTIAL, **kwargs)
            if wrong := corruption(partial):
                raise OSError(5, f'It does not read back as written ({wrong})', path)
            if objects := foreign_objects(str(partial)):
                self.logger.warning(
                    f'{path} contains Python objects ({objects[0]}, from a '
                    'hook or the data), so resuming it will need --trust-checkpoint.'
                )
