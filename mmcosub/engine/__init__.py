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


def _runner_for(cls: type, cfg: Any) -> type:
    """Return the class that respects a config's ``scheme``, for ``from_cfg``.

    ``Runner.from_cfg(cfg)``, the usual way to train in Python, ignores ``runner_type``
    and would train without the scheme. The fragments of schemes import this module.
    """
    if not (cfg.get('scheme') and cfg.get('train_cfg')) or issubclass(
        cls, SeededRunner
    ):
        return cls
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


def _respect_schemes(stock: Any) -> classmethod:
    @functools.wraps(stock)
    def from_cfg(cls: type, cfg: Any) -> Any:
        return stock(_runner_for(cls, cfg), cfg)

    return classmethod(from_cfg)


for _runner in (Runner, FlexibleRunner):
    _runner.from_cfg = _respect_schemes(_runner.from_cfg.__func__)
