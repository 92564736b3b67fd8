"""Default drop-path rate for upstream networks without DropPath."""

import copy
import warnings

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from mmcosub.checkpoints import without_memory
from mmcosub.registry import MODELS
from mmcosub.stack import import_stack_quietly
from mmcosub.submodels import Site, find_branches

from .type_name import type_name

RATE = 0.1
"""Drop-path rate of the last block. Our choice: as in ConvNeXt-T's pretraining (arXiv
2201.03545, table 5), and small enough for a ResNet."""

# Schemes that draw views by drop-path rates; others have their own settings.
_BY_RATES = ('Cosub', 'StochasticDepth')


def set_default_rate(cfg: Config) -> None:
    """Set the scheme's drop-path rate if the network uses no DropPath.

    As usual, the rate rises linearly with depth in a network of several stages and is
    constant in a network of one resolution. The change is logged.

    Args:
        cfg (Config): Config with a scheme, changed in place. A rate of the scheme or
            the network is kept.
    """
    scheme = cfg.scheme
    if type_name(scheme) not in _BY_RATES or scheme.get('drop_path_rate') is not None:
        return
    sites = _branches(cfg)
    if not sites or any(site.rate for site in sites):
        return
    stages = len({site.stage for site in sites})
    scheme.drop_path_rate = RATE
    scheme.setdefault('drop_path_decay', 'linear' if stages > 1 else 'constant')
    print_log(
        f'The backbone uses no DropPath, so scheme.drop_path_rate is set to {RATE}, '
        f'{scheme.drop_path_decay} over depth. Another one: --cfg-options '
        'scheme.drop_path_rate=0.2.',
        'current',
    )


def _branches(cfg: Config) -> list[Site]:
    """Find the network's branches, with the model on the meta device."""
    config = copy.deepcopy(cfg.model)
    if 'backbone' in config:
        config = config.backbone
    scope = DefaultScope.overwrite_default_scope(cfg.get('default_scope'))
    try:
        import_stack_quietly()
        with scope, without_memory(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # reported when the model is built
            return find_branches(MODELS.build(config))
    except Exception:  # reported when the model is built
        return []
