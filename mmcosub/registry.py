"""Registries of the toolkit.

The first group are children of MMEngine's registries, so that everything here can be
named from any OpenMMLab config as ``mmcosub.Name``. The second group is our own.
"""

from typing import Any

from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, scope='mmcosub', locations=['mmcosub.datasets']
)
HOOKS = Registry(
    'hook', parent=MMENGINE_HOOKS, scope='mmcosub', locations=['mmcosub.hooks']
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

SCHEMES = Registry('scheme', scope='mmcosub', locations=['mmcosub.schemes'])
SAMPLERS = Registry('sampler', scope='mmcosub', locations=['mmcosub.submodels'])


def build(registry: Registry, cfg: dict) -> Any:
    """Build from one of our own registries, whatever the config's default scope.

    Args:
        registry (Registry): ``SCHEMES`` or ``SAMPLERS``.
        cfg (dict): Config with a ``type``.
    """
    return registry.build({**cfg, '_scope_': 'mmcosub'})
