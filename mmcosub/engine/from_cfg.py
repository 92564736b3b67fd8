"""MMEngine's ``Runner.from_cfg`` for configs with a scheme."""

import functools
import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

from mmcosub.resuming.seeded_runner import SeededRunner

from .flexible import CoTrainingFlexibleRunner
from .runner import CoTrainingRunner


def respect_schemes() -> None:
    """Let ``from_cfg`` of MMEngine's runners respect a config's ``scheme``.

    ``Runner.from_cfg(cfg)``, the usual way to train in Python, ignores ``runner_type``
    and would train without the scheme. With a scheme it returns mmcosub's runner
    instead, ``FlexibleRunner.from_cfg`` raises, and other classes log a warning. Called
    on importing ``mmcosub.engine``, as the config fragments do.
    """
    for runner in (Runner, FlexibleRunner):
        runner.from_cfg = classmethod(_respecting(runner.from_cfg.__func__))


def _respecting(stock: Any) -> Any:
    @functools.wraps(stock)
    def from_cfg(cls: type, cfg: Any) -> Any:
        return stock(_runner_for(cls, cfg), cfg)

    return from_cfg


def _runner_for(cls: type, cfg: Any) -> type:
    if cfg.get('scheme') and cfg.get('train_cfg') and not issubclass(cls, SeededRunner):
        if cls is Runner:
            return CoTrainingRunner
        if cls is FlexibleRunner:
            raise ValueError(
                'The config has a scheme, and FlexibleRunner would train without it. '
                f'Use mmcosub.{CoTrainingFlexibleRunner.__name__}.from_cfg(cfg), or '
                'delete cfg.scheme.'
            )
        print_log(
            f'The config has a scheme, and {cls.__name__} trains without it. Derive it '
            'from mmcosub.CoTrainingRunner, or delete cfg.scheme.',
            level=logging.WARNING,
        )
    return cls
