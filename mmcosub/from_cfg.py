"""MMEngine's ``Runner.from_cfg`` for configs with a scheme."""

import functools
import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner


def heed_schemes() -> None:
    """Let ``from_cfg`` of MMEngine's runners heed a config's ``scheme``.

    ``Runner.from_cfg(cfg)`` is the usual way to train in Python. It does not look at
    ``runner_type``, so a config with a scheme would be trained without it and without a
    word. It gives our runner instead; ``FlexibleRunner.from_cfg`` refuses,
    and a class of a user's own says that it does not.
    """
    for runner, ours in ((Runner, _ours), (FlexibleRunner, _refused)):
        stock = runner.from_cfg.__func__
        if not hasattr(stock, '__wrapped__'):  # once
            runner.from_cfg = classmethod(_heeding(stock, runner, ours))


def _heeding(stock: Any, runner: type, ours: Any) -> Any:
    @functools.wraps(stock)
    def from_cfg(cls: type, cfg: Any) -> Any:
        scheme = cfg.get('scheme')
        if isinstance(scheme, dict) and 'type' in scheme:
            if cls is runner:
                cls = ours()
            elif cfg.get('train_cfg') and not _heeds(cls):
                print_log(
                    f'The config has a scheme, and {cls.__name__} trains without it. '
                    'Derive it from mmcosub.engine.CoTrainingRunner, or delete '
                    'cfg.scheme.',
                    level=logging.WARNING,
                )
        return stock(cls, cfg)

    return from_cfg


def _heeds(runner: type) -> bool:
    """Whether a class of runners is one of ours, or derived from one."""
    from mmcosub.engine.counted_run import CountedRun

    return issubclass(runner, CountedRun)


def _ours() -> type:
    from mmcosub.engine import CoTrainingRunner

    return CoTrainingRunner


def _refused() -> type:
    raise ValueError(
        'The config has a scheme, and FlexibleRunner would train without it. Use '
        'mmcosub.engine.CoTrainingFlexibleRunner.from_cfg(cfg), or Runner.from_cfg '
        'of MMEngine, or delete cfg.scheme.'
    )
