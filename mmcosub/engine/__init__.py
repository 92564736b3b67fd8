"""Runners that build co-trained models from configs."""

import functools
import logging
from typing import Any

from mmcosub.stack import import_stack_quietly

import_stack_quietly()  # before anything here imports it aloud

from mmengine.logging import print_log  # noqa: E402
from mmengine.runner import FlexibleRunner, Runner  # noqa: E402

from mmcosub.config.co_train import (  # noqa: E402
    apply_scheme,
    list_schemes,
    set_default_rate,
)
from mmcosub.resuming.seeded_runner import SeededRunner  # noqa: E402

from .evaluation import EvaluationRunner  # noqa: E402
from .flexible import CoTrainingFlexibleRunner  # noqa: E402
from .runner import CoTrainingRunner  # noqa: E402

__all__ = [
    'CoTrainingFlexibleRunner',
    'CoTrainingRunner',
    'EvaluationRunner',
    'apply_scheme',
    'list_schemes',
    'set_default_rate',
]


def _respect_schemes(stock: Any) -> classmethod:
    """Return ``from_cfg`` of a runner that trains by a config's ``scheme``.

    ``Runner.from_cfg(cfg)``, the usual way to train in Python, ignores ``runner_type``
    and would train without the scheme. The fragments of schemes import this module.
    """

    @functools.wraps(stock)
    def from_cfg(cls: type, cfg: Any) -> Any:
        co_trains = cfg.get('scheme') and cfg.get('train_cfg')
        if co_trains and cls is Runner:
            cls = CoTrainingRunner
        elif co_trains and not issubclass(cls, SeededRunner):
            said = (
                f'The config has a scheme, and {cls.__name__} trains without it. Use '
                'mmcosub.CoTrainingRunner or CoTrainingFlexibleRunner, or a class '
                'derived from one of them, or delete cfg.scheme.'
            )
            if cls is FlexibleRunner:
                raise ValueError(said)
            print_log(said, level=logging.WARNING)
        return stock(cls, cfg)

    return classmethod(from_cfg)


for _runner in (Runner, FlexibleRunner):
    _runner.from_cfg = _respect_schemes(_runner.from_cfg.__func__)
