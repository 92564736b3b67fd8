"""Configs that need no mmcosub."""

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

_OURS = 'mmcosub'
# Keys of mmcosub's runners and tools, and paths.
_KEYS = (
    'scheme', 'runner_type', 'fast', 'carry_over', 'trust_checkpoint', 'bad_data',
    'launcher', 'work_dir', 'load_from', 'resume',
)  # fmt: skip
_IF_OURS = ('custom_imports', 'dataset_type')  # the latter is a variable of the file
_PARTS = ('dataloader', 'evaluator', 'cfg')


def without_ours(cfg: Config) -> tuple[Config, list[str]]:
    """Return a config whose parts, except the model, need no mmcosub; and removed keys.

    A loader or metric of mmcosub is removed with its whole loop, a metric beside others
    alone. Hooks and imports are not needed without a scheme.
    """
    new = copy.deepcopy(cfg)
    new.custom_hooks = [h for h in new.get('custom_hooks') or [] if not _is_ours(h)]
    for key, value in list(new.items()):
        if key in _KEYS or (key in _IF_OURS and _is_ours(value)):
            new.pop(key)
        if key.endswith('_evaluator') and isinstance(value, list):
            new[key] = [each for each in value if not _is_ours(each)] or value
    left_out = [key for key in new if key != 'model' and _is_ours(new[key])]
    for key in left_out:
        loop, _, part = key.partition('_')
        rest = _PARTS if part in _PARTS else ()
        for each in (key, *(f'{loop}_{other}' for other in rest)):
            new.pop(each, None)
    return new, left_out


def stock_model(model: ConfigDict) -> list[str]:
    """Remove losses that need mmcosub from a model's settings, and return their keys.

    ValueError if another part needs mmcosub.
    """
    left_out = []
    for path, holder, key in list(_places(model, 'model')):
        if key in ('loss', 'loss_decode') and _is_ours(holder[key]):
            left_out.append(path)
            del holder[key]
    for path, holder, key in _places(model, 'model'):
        if key == 'type' and _is_ours(holder[key]):
            raise ValueError(
                f'{path}={holder[key]!r} needs mmcosub. Set it to the upstream class '
                'with the same weights (--cfg-options).'
            )
    return left_out


def _places(value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield every nested setting: its dotted path, container and key."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        here = f'{path}.{key}'
        yield here, value, key
        if isinstance(inner, dict | list | tuple):
            yield from _places(inner, here)


def _is_ours(value: Any) -> bool:
    """Return True if a setting names a class of mmcosub."""
    if isinstance(value, str):
        return value.startswith((f'{_OURS}.', f'{_OURS}::')) or value == _OURS
    if isinstance(value, type):
        return value.__module__.startswith(_OURS)
    if isinstance(value, dict):
        return any(map(_is_ours, value.values()))
    return isinstance(value, list | tuple) and any(map(_is_ours, value))
