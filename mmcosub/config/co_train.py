"""From an upstream config to a co-trained one: schemes by name, wrappers by model."""

import copy
import importlib
import re
import warnings
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope

from mmcosub.names import RUNNER, WRAPPERS, did_you_mean, list_schemes, type_name
from mmcosub.names import packaged_configs as packaged_configs
from mmcosub.registry import MODELS as OUR_MODELS
from mmcosub.stack import import_stack_quietly
from mmcosub.submodels import Site, find_branches

from .model_settings import without_memory
from .unread import walk

# A fragment may import the module that registers a user's scheme.
_FRAGMENT_KEYS = ('scheme', 'runner_type', 'custom_hooks', 'custom_imports')

FAST = {
    'FCNHead': 'mmcosub.FastFCNHead',
    'PSPHead': 'mmcosub.FastPSPHead',
    'SegformerHead': 'mmcosub.FastSegformerHead',
    'UPerHead': 'mmcosub.FastUPerHead',
}
"""Faster class for each upstream class, with the same weights and outputs."""

RATE = 0.1
"""Default drop-path rate of the last block. Our choice: as in ConvNeXt-T's pretraining
(arXiv 2201.03545, table 5), and small enough for a ResNet."""

# Schemes that draw views by drop-path rates; others have their own settings.
_BY_RATES = ('Cosub', 'StochasticDepth')


def find_scheme(name_or_file: str) -> Path:
    """Find the config fragment of a scheme, by name or file."""
    schemes = list_schemes()
    if name_or_file in schemes:
        return schemes[name_or_file]
    path = Path(name_or_file)
    if path.suffix == '.py' and path.is_file():
        return path
    raise ValueError(
        f'Unknown scheme {name_or_file!r}.{did_you_mean(name_or_file.lower(), schemes)}'
        f' Valid names are {list(schemes)}; or give the path of a .py file with '
        '`scheme = dict(type=...)`.'
    )


def apply_scheme(cfg: Config, name_or_file: str) -> None:
    """Turn a config into a co-trained one, in place; a scheme in it is replaced.

    The scheme is one of :func:`list_schemes`, or the path of a fragment.
    """
    path = find_scheme(name_or_file)
    fragment = Config.fromfile(path)
    if 'scheme' not in fragment:
        raise ValueError(f'{path} has no `scheme = dict(type=...)`.')
    others = sorted(set(fragment) - set(_FRAGMENT_KEYS))
    if others:
        raise ValueError(
            f'{path} is not a scheme file: it also has {others}. A scheme file may '
            f'have {list(_FRAGMENT_KEYS)} only; a whole config is trained as it is, '
            'without --co-train.'
        )
    cfg.scheme = fragment.scheme
    cfg.runner_type = fragment.get('runner_type', RUNNER)
    if 'custom_hooks' in fragment:
        cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), *fragment.custom_hooks]
    if 'custom_imports' in fragment:
        # Also the config in the work directory needs the imports of the scheme.
        before = cfg.get('custom_imports') or dict(imports=[])
        lists = (before['imports'], fragment.custom_imports['imports'])
        imports = [n for x in lists for n in ([x] if isinstance(x, str) else x)]
        cfg.custom_imports = dict(imports=imports, allow_failed_imports=False)


def turn_off_scheme(cfg: Config) -> None:
    """Remove, in place, the hook that only a scheme needs."""
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [h for h in hooks if type_name(h) != 'CoTrainingLossHook']


def co_trained_model(model: dict, scheme: dict) -> dict:
    """Return the config of a model wrapped for co-training, or raise if there is none.

    A mask head needs MMDetection.
    """
    if 'type' not in scheme:
        raise ValueError(
            f'The scheme {dict(scheme)} has no type: choose one of '
            f'{list(list_schemes())} with --co-train, or set scheme.type.'
        )
    name = type_name(model, MODELS)
    wrapped = {wrapper.partition('.')[2] for wrapper in WRAPPERS.values()}
    _require_mmdetection(type_name(model.get('decode_head')))
    if name in wrapped:
        return {**model, 'scheme': scheme}
    if name not in WRAPPERS:
        raise ValueError(
            f'A model of type {str(name or None)!r} cannot be co-trained. Supported '
            f'types are {list(WRAPPERS)}; without --co-train it trains as usual.'
        )
    return {**model, 'type': WRAPPERS[name], 'scheme': scheme}


def _require_mmdetection(head: str) -> None:
    if head not in ('MaskFormerHead', 'Mask2FormerHead'):
        return
    try:
        importlib.import_module('mmdet')
    except ImportError as error:
        raise ImportError(
            f'{head} needs mmdetection, and mmcv with compiled operators:\n'
            '  pip install onedl-mmdetection\n'
            '  pip install --no-build-isolation --force-reinstall --no-deps onedl-mmcv'
        ) from error


def accelerated_model(model: dict) -> dict:
    """Return the model's config with faster heads; weights stay the same."""
    changed = copy.deepcopy(model)
    for place, part in [*walk(changed)]:
        # Also of several heads, and inside the wrapper for test-time augmentation.
        head = re.fullmatch(r'(module\.)*(decode|auxiliary)_head(\.\d+)?', place)
        if head and (name := type_name(part, MODELS)) in FAST:
            part['type'] = FAST[name]
    return changed


def set_default_rate(cfg: Config) -> None:
    """Set the scheme's drop-path rate if the network uses no DropPath.

    As usual, the rate rises linearly with depth in a network of several stages and is
    constant in a network of one resolution. The change is logged.
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
    config: Any = copy.deepcopy(cfg.model)
    scope = DefaultScope.overwrite_default_scope(cfg.get('default_scope'))
    try:
        import_stack_quietly()
        with scope, without_memory(), warnings.catch_warnings():
            warnings.simplefilter('ignore')  # reported when the model is built
            return find_branches(OUR_MODELS.build(config.get('backbone', config)))
    except Exception:  # reported when the model is built
        return []
