"""Registries, and what MMEngine has to know of mmcosub; messages to its log.

The registries are children of MMEngine's, so any OpenMMLab config can use
``mmcosub.Name``; MMEngine imports this module for such names. ``SCHEMES`` and
``SAMPLERS`` belong to the core, which does not need MMEngine.
"""

import functools
import logging

from .stack import check_stack, ignore_known_warnings, installed_version

check_stack()  # first, to report a wrong stack
ignore_known_warnings()

from mmengine.config.utils import MODULE2PACKAGE  # noqa: E402
from mmengine.logging import print_log  # noqa: E402
from mmengine.registry import Registry, root  # noqa: E402

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
    'log_once',
]


def _child(parent: Registry, room: str) -> Registry:
    """Return a child registry, which imports a room of mmcosub to fill it."""
    places = [f'mmcosub.{room}']
    return Registry(parent.name, parent=parent, scope='mmcosub', locations=places)


DATASETS = _child(root.DATASETS, 'datasets')
HOOKS = _child(root.HOOKS, 'hooks')
METRICS = _child(root.METRICS, 'evaluation')
MODELS = _child(root.MODELS, 'models')
RUNNERS = _child(root.RUNNERS, 'engine')
TRANSFORMS = _child(root.TRANSFORMS, 'datasets')

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


@functools.cache
def log_once(message: str) -> None:
    """Log a message unless this process has done so."""
    print_log(message, 'current')
