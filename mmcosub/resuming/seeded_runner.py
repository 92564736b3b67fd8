from typing import Any

from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.base_loop import BaseLoop
from mmengine.visualization import Visualizer

from mmcosub.checkpoints import safe_reading
from mmcosub.config.errors import note_moment

from .batches import check_batches, end_workers
from .checkpoint_hook import WholeCheckpointHook
from .loops import resumable
from .seeding import Indices, IterationSeedHook, seed_batches


class SeededRunner:
    """Runner mixin: seeds per iteration, safe reading, the phase for error reports.

    Must precede MMEngine's runner among a class's bases.
    """

    seed: int
    _hooks: list[Hook]
    _experiment_name: str
    _train_dataloader: Any
    _train_loop: Any
    _val_loop: Any
    _randomness_cfg: dict
    build_dataloader: Any
    register_hook: Any
    cfg: Any
    iter: int

    @property
    def trusts(self) -> bool:
        """True if checkpoints may execute code (``trust_checkpoint``)."""
        cfg: Any = self.cfg
        return bool(cfg.get('trust_checkpoint', False))

    def train(self) -> Any:
        """Train; raise a ``ValueError`` if this runner has trained before."""
        if done := getattr(self._train_loop, 'iter', 0):
            # Averages would begin anew, and a pretrained backbone be loaded again.
            raise ValueError(
                f'This runner has trained for {done} iterations already. To go on, '
                'build another one with resume=True.'
            )
        try:
            with safe_reading(self.trusts):
                return super().train()  # type: ignore[misc]
        finally:
            for loop in (self._train_loop, self._val_loop):
                end_workers(loop)

    def val(self) -> Any:
        with safe_reading(self.trusts):
            return super().val()  # type: ignore[misc]

    def test(self) -> Any:
        with safe_reading(self.trusts):
            return super().test()  # type: ignore[misc]

    def build_visualizer(
        self, visualizer: Visualizer | dict | None = None
    ) -> Visualizer:
        """Build the visualizer, a new one for each run in a process.

        MMEngine keeps visualizers by name, and upstream configs all use the same name:
        a second run would log into the folder of the first.
        """
        if isinstance(visualizer, dict):
            name = visualizer.get('name', '')
            if Visualizer.check_instance_created(name):
                visualizer = {**visualizer, 'name': self._experiment_name}
        return super().build_visualizer(visualizer)  # type: ignore[misc]

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        cfg = self._train_dataloader
        if isinstance(cfg, dict):
            diff = self._randomness_cfg.get('diff_rank_seed', False)
            loader = self.build_dataloader(cfg, self.seed, diff)
            self._train_dataloader = loader
            seed_batches(loader, self.seed, lambda: self.iter, self.extend(loader))
        built: Any = super().build_train_loop(  # type: ignore[misc]
            resumable(loop) if isinstance(loop, dict) else loop
        )
        check_batches(
            built.dataloader,
            'train_dataloader',
            epochs=isinstance(built, EpochBasedTrainLoop),
        )
        if isinstance(cfg, dict):
            self._train_dataloader = cfg  # used again later
        else:
            seed_batches(built.dataloader, self.seed, lambda: built.iter)
        return built

    def extend(self, loader: Any) -> Indices | None:
        """Add further data to the training loader's; return their indices, if any."""
        return None

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_val_loop(loop)  # type: ignore[misc]
        return _checked(built, 'val_dataloader', ValLoop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        built = super().build_test_loop(loop)  # type: ignore[misc]
        return _checked(built, 'test_dataloader', TestLoop)

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        super().register_default_hooks(hooks)  # type: ignore[misc]
        self.register_hook(IterationSeedHook())

    def resume(self, *args: Any, **kwargs: Any) -> None:
        """Resume; ignore a checkpoint's list of files to delete."""
        super().resume(*args, **kwargs)  # type: ignore[misc]
        _forget_named_files(self)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        if fn_name.startswith('before'):
            note_moment(fn_name)
        super().call_hook(fn_name, **kwargs)  # type: ignore[misc]
        if fn_name.startswith('after'):
            note_moment(fn_name)


def _checked(built: Any, setting: str, upstream: type) -> BaseLoop:
    stock = type(built).run is upstream.run  # type: ignore[attr-defined]
    # A user's loop may end by itself.
    check_batches(getattr(built, 'dataloader', None), setting, epochs=stock)
    return built


def _forget_named_files(runner: Any) -> None:
    """Remove file names that other hooks would delete after resuming.

    MMEngine deletes best and outdated checkpoints by the names in the loaded
    checkpoint, absolute paths included. Without these names it deletes only files
    written later.
    """
    savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if all(isinstance(hook, WholeCheckpointHook) for hook in savers):
        return
    info = runner.message_hub.runtime_info
    for key in [*info]:
        if str(key).startswith(('best_ckpt', 'keep_ckpt_ids')):
            del info[key]
