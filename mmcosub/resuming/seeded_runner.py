from collections.abc import Sequence
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.base_loop import BaseLoop
from mmengine.visualization import Visualizer

from mmcosub.checkpoints import safe_reading
from mmcosub.config.errors import note_moment

from .batches import check_batches
from .loops import resumable
from .seeding import seed_batches


class SeededRunner:
    """Runner mixin: seeds per iteration and records the phase for error reports.

    Must precede MMEngine's runner among a class's bases.
    """

    seed: int
    _hooks: list[Hook]
    _experiment_name: str
    _train_dataloader: Any
    _randomness_cfg: dict
    build_dataloader: Any
    cfg: Any
    iter: int

    @property
    def trusts(self) -> bool:
        """True if checkpoints may execute code (``trust_checkpoint``)."""
        cfg: Any = self.cfg
        return bool(cfg.get('trust_checkpoint', False))

    def train(self) -> Any:
        """Train; checkpoints are read safely unless trusted."""
        with safe_reading(self.trusts):
            return super().train()  # type: ignore[misc]

    def val(self) -> Any:
        """Validate; checkpoints are read safely unless trusted."""
        with safe_reading(self.trusts):
            return super().val()  # type: ignore[misc]

    def test(self) -> Any:
        """Test; checkpoints are read safely unless trusted."""
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
        """Build the resumable training loop."""
        cfg = self._train_dataloader
        if isinstance(cfg, dict):
            diff = self._randomness_cfg.get('diff_rank_seed', False)
            loader = self.build_dataloader(cfg, self.seed, diff)
            seed_batches(loader, self.seed, get_rank(), lambda: self.iter)
            self._train_dataloader = self.extended(loader)
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
            seed_batches(built.dataloader, self.seed, get_rank(), lambda: built.iter)
        return built

    def extended(self, loader: Any) -> Any:
        """Return the training loader, possibly with further data in its batches."""
        return loader

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop; raise if there is no data."""
        built = super().build_val_loop(loop)  # type: ignore[misc]
        return _checked(built, 'val_dataloader', ValLoop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop; raise if there is no data."""
        built = super().build_test_loop(loop)  # type: ignore[misc]
        return _checked(built, 'test_dataloader', TestLoop)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks and record the phase."""
        if fn_name.startswith('before'):
            note_moment(fn_name)
        super().call_hook(fn_name, **kwargs)  # type: ignore[misc]
        if fn_name.startswith('after'):
            note_moment(fn_name)

    def register_ours(self, names: Sequence[str]) -> None:
        """Register those of mmcosub's hooks that the config does not name."""
        present = {type(hook).__name__ for hook in self._hooks}
        for name in names:
            if name not in present:
                self.register_hook(dict(type=f'mmcosub.{name}'))  # type: ignore


def _checked(built: Any, setting: str, upstream: type) -> BaseLoop:
    stock = type(built).run is upstream.run  # type: ignore[attr-defined]
    # A user's loop may end by itself.
    check_batches(getattr(built, 'dataloader', None), setting, epochs=stock)
    return built
