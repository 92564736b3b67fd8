from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.engine.hooks import PreciseBNHook
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.registry import HOOKS


@HOOKS.register_module()
class FullNetworkBNHook(PreciseBNHook):
    """Re-estimates BatchNorm statistics with the full network before validation.

    Training by subnets leaves statistics that are no network's in particular, so
    stimulative training (arXiv 2210.04153, its code) takes them anew. mmpretrain's
    ``PreciseBNHook`` does so; this one besides keeps every branch meanwhile, goes by
    the validation interval, and does nothing where there is no BatchNorm.

    Args:
        num_samples (int): Number of training images to take. Defaults to 8192.
        interval (int, optional): Every how many epochs (or iterations, as the training
            loop counts). Defaults to None, the validation interval.
    """

    # Before CheckpointHook, so that a checkpoint has the new statistics.
    priority = 'ABOVE_NORMAL'

    def __init__(self, num_samples: int = 8192, interval: int | None = None) -> None:
        super().__init__(num_samples, interval or 1)
        self._follows_validation = interval is None

    def before_train(self, runner: Runner) -> None:
        """Look up the validation interval."""
        if self._follows_validation:
            self.interval = getattr(runner.train_loop, 'val_interval', 1)

    def _perform_precise_bn(self, runner: Runner) -> None:
        model: Any = runner.model
        model = model.module if is_model_wrapper(model) else model
        if not any(isinstance(m, _BatchNorm) and m.training for m in model.modules()):
            return
        with _no_drop_path(model):
            super()._perform_precise_bn(runner)


@contextmanager
def _no_drop_path(model: nn.Module) -> Iterator[None]:
    drops: list[Any] = [m for m in model.modules() if type(m).__name__ == 'DropPath']
    rates = [drop.drop_prob for drop in drops]
    for drop in drops:
        drop.drop_prob = 0.0
    try:
        yield
    finally:
        for drop, rate in zip(drops, rates, strict=True):
            drop.drop_prob = rate
