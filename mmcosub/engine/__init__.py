"""Runners that build co-trained models from configs."""

from mmcosub.stack import import_stack_quietly

import_stack_quietly()  # before anything here imports it aloud

from mmcosub.config.co_train import (  # noqa: E402
    apply_scheme,
    list_schemes,
    set_default_rate,
)

from .evaluation import EvaluationRunner  # noqa: E402
from .flexible import CoTrainingFlexibleRunner  # noqa: E402
from .from_cfg import respect_schemes  # noqa: E402
from .runner import CoTrainingRunner  # noqa: E402

__all__ = [
    'CoTrainingFlexibleRunner',
    'CoTrainingRunner',
    'EvaluationRunner',
    'apply_scheme',
    'list_schemes',
    'set_default_rate',
]

respect_schemes()
