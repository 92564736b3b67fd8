"""From an upstream config to a co-trained one: schemes by name, wrappers by model."""

import difflib
import importlib
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import MODELS

from mmcosub.names import RUNNER, WRAPPERS, list_schemes, type_name
from mmcosub.names import packaged_configs as packaged_configs

# A fragment may import the module that registers a user's scheme.
_FRAGMENT_KEYS = ('scheme', 'runner_type', 'custom_hooks', 'custom_imports')

FAST = {
    'FCNHead': 'mmcosub.FastFCNHead',
    'PSPHead': 'mmcosub.FastPSPHead',
    'SegformerHead': 'mmcosub.FastSegformerHead',
    'UPerHead': 'mmcosub.FastUPerHead',
}
"""Faster class for each upstream class, with the same weights and outputs."""


def find_scheme(name_or_file: str) -> Path:
    """Find the config fragment of a scheme.

    Args:
        name_or_file (str): One of :func:`list_schemes`, or the path of a fragment.

    Raises:
        ValueError: If there is no such name and no such file.
    """
    schemes = list_schemes()
    if name_or_file in schemes:
        return schemes[name_or_file]
    path = Path(name_or_file)
    if path.suffix == '.py' and path.is_file():
        return path
    close = difflib.get_close_matches(name_or_file.lower(), schemes, n=1)
    hint = f' Did you mean {close[0]!r}?' if close else ''
    raise ValueError(
        f'Unknown scheme {name_or_file!r}.{hint} Valid names are {list(schemes)}; or '
        'give the path of a .py file with `scheme = dict(type=...)`.'
    )


def apply_scheme(cfg: Config, name_or_file: str) -> None:
    """Turn a config into a co-trained one, in place.

    Args:
        cfg (Config): Config of a segmentor or classifier. Its scheme, if any, is
            replaced.
        name_or_file (str): One of :func:`list_schemes`, or the path of a fragment.

    Raises:
        ValueError: If the scheme is not found or its file is not a fragment.
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
        imports = [*_as_list(before['imports'])]
        imports += _as_list(fragment.custom_imports['imports'])
        cfg.custom_imports = dict(imports=imports, allow_failed_imports=False)


def turn_off_scheme(cfg: Config) -> None:
    """Remove, in place, the hook that only a scheme needs.

    Args:
        cfg (Config): Config whose scheme was set to None.
    """
    hooks = cfg.get('custom_hooks') or []
    ours = 'CoTrainingLossHook'
    cfg.custom_hooks = [hook for hook in hooks if type_name(hook) != ours]


def co_trained_model(model: dict, scheme: dict) -> dict:
    """Return the config of a model wrapped for co-training.

    Args:
        model (dict): Config of an upstream model or of a wrapper.
        scheme (dict): Config of the scheme.

    Raises:
        ValueError: If the scheme has no type or there is no wrapper for the model.
    """
    if 'type' not in scheme:
        raise ValueError(
            f'The scheme {dict(scheme)} has no type: choose one of '
            f'{list(list_schemes())} with --co-train, or set scheme.type.'
        )
    name = type_name(model, MODELS)
    wrapped = {wrapper.partition('.')[2] for wrapper in WRAPPERS.values()}
    _require_mmdetection(model.get('decode_head'))
    if name in wrapped:
        return {**model, 'scheme': scheme}
    if name not in WRAPPERS:
        raise ValueError(
            f'A model of type {str(name or None)!r} cannot be co-trained. Supported '
            f'types are {list(WRAPPERS)}; without --co-train it trains as usual.'
        )
    return {**model, 'type': WRAPPERS[name], 'scheme': scheme}


def _require_mmdetection(head: Any) -> None:
    """Raise with the remedy if a mask head needs MMDetection.

    Raises:
        ImportError: If it is missing. The message has the command to run.
    """
    name = type_name(head)
    if name not in ('MaskFormerHead', 'Mask2FormerHead'):
        return
    try:
        importlib.import_module('mmdet')
    except ImportError as error:
        raise ImportError(
            f'{name} needs mmdetection, and mmcv with compiled operators:\n'
            '  pip install onedl-mmdetection\n'
            '  pip install --no-build-isolation --force-reinstall --no-deps onedl-mmcv'
        ) from error


def accelerated_model(model: dict) -> dict:
    """Return the model's config with faster parts; weights stay the same.

    Args:
        model (dict): Config of a model.
    """
    changed = dict(model)
    for part in ('decode_head', 'auxiliary_head'):
        heads = model.get(part)
        if isinstance(heads, list | tuple):
            changed[part] = [_accelerated(head) for head in heads]
        elif heads:
            changed[part] = _accelerated(heads)
    if isinstance(model.get('module'), dict):  # of test-time augmentation
        changed['module'] = accelerated_model(model['module'])
    return changed


def _accelerated(head: dict) -> dict:
    name = type_name(head, MODELS)
    return {**head, 'type': FAST[name]} if name in FAST else head


def _as_list(imports: str | list[str]) -> list[str]:
    return [imports] if isinstance(imports, str) else list(imports)
