"""Registries, and what MMEngine has to know of mmcosub.

The registries are children of MMEngine's, so any OpenMMLab config can use
``mmcosub.Name``; MMEngine imports this module for such names. ``SCHEMES`` and
``SAMPLERS`` belong to the core, which does not need MMEngine.
"""

import logging

from .stack import check_stack, ignore_known_warnings, installed_version

check_stack()  # first, to report a wrong stack
ignore_known_warnings()

from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402
from mmengine.logging import print_log  # noqa: E402
from mmengine.registry import DATASETS as MMENGINE_DATASETS  # noqa: E402
from mmengine.registry import HOOKS as MMENGINE_HOOKS  # noqa: E402
from mmengine.registry import METRICS as MMENGINE_METRICS  # noqa: E402
from mmengine.registry import MODELS as MMENGINE_MODELS  # noqa: E402
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS  # noqa: E402
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS  # noqa: E402
from mmengine.registry import Registry  # noqa: E402

from .losses import BinaryCrossEntropyLoss  # noqa: E402
from .schemes import SCHEMES  # noqa: E402
from .submodels import SAMPLERS  # noqa: E402

__all__ = [
    'DATASETS',
    'HOOKS',
    'METRICS',
    'MODELS',
    'RUNNERS',
    'SAMPLERS',
    'SCHEMES',
    'TRANSFORMS',
]

DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope='mmcosub', locations=['mmcosub.datasets']
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='mmcosub', locations=['mmcosub.hooks']
)
METRICS = Registry(
    'metric',
    parent=MMENGINE_METRICS,
    scope='mmcosub',
    locations=['mmcosub.evaluation'],
)
MODELS = Registry(
    'model', parent=MMENGINE_MODELS, scope='mmcosub', locations=['mmcosub.models']
)
RUNNERS = Registry(
    'runner', parent=MMENGINE_RUNNERS, scope='mmcosub', locations=['mmcosub.engine']
)
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    scope='mmcosub',
    locations=['mmcosub.datasets'],
)

MODELS.register_module(module=BinaryCrossEntropyLoss)

# Lets a config say `_base_ = ['mmcosub::_base_/schemes/cosub.py']`.
MODULE2PACKAGE.setdefault('mmcosub', 'mmcosub')
# `mmseg::` looks up the distribution mmsegmentation, which OneDL renames; the import
# name works as well.
if not installed_version('mmsegmentation'):
    MODULE2PACKAGE['mmseg'] = 'mmseg'


class _ToMMEngine(logging.Handler):
    """Log handler that forwards the core's messages to MMEngine's log."""

    def emit(self, record: logging.LogRecord) -> None:
        print_log(record.getMessage(), 'current')


logging.getLogger('mmcosub').addHandler(_ToMMEngine())
