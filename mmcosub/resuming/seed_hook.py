from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .seeding import seed_iteration


class IterationSeedHook(Hook):
    """Hook that seeds every iteration by its number, for exact resuming.

    Dropout, upstream DropPath and mixing of images draw from this seed. Data are seeded
    on loading; plans have their own generator.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed one iteration."""
        seed_iteration(runner.seed, get_rank(), runner.iter)
