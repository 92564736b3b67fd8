"""Checks for settings that nothing reads, with the settings to use instead."""

import difflib
import inspect
import logging
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

# Keys that MMEngine's runners, the tools and mmcosub's runners read.
READ = {
    *('activation_checkpointing', 'allow_changes', 'bad_data', 'carry_over', 'compile'),
    *('custom_imports', 'efficient_conv_bn_eval', 'fast', 'find_unused_parameters'),
    *('init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type', 'scheme'),
    *('skip_checks', 'sync_bn', 'trust_checkpoint', 'tta_model', 'tta_pipeline'),
    'unlabelled',
    *inspect.signature(Runner).parameters,
    *inspect.signature(FlexibleRunner).parameters,
} - {'cfg'}

_SPLITS = 'train_dataloader, val_dataloader and test_dataloader'
OLD = {
    'checkpoint_config': 'default_hooks.checkpoint',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'data': _SPLITS,
    'deterministic': 'randomness.deterministic',
    'dist_params': 'env_cfg.dist_cfg',
    'evaluation': 'val_evaluator and train_cfg.val_interval',
    'fp16': '--amp',
    'log_config': 'default_hooks.logger and visualizer',
    'lr': 'optim_wrapper.optimizer.lr',
    'lr_config': 'param_scheduler',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper',
    'resume_from': '--resume',
    'seed': 'randomness.seed',
    'workers_per_gpu': 'train_dataloader.num_workers',
    **dict.fromkeys(('runner', 'workflow'), 'train_cfg'),
    **dict.fromkeys(('gpu_ids', 'gpus'), '--launcher'),
    **dict.fromkeys(('batch_size', 'samples_per_gpu'), 'train_dataloader.batch_size'),
    **dict.fromkeys(('iters', 'max_iters', 'total_iters'), 'train_cfg.max_iters'),
    **dict.fromkeys(('epochs', 'max_epochs', 'total_epochs'), 'train_cfg.max_epochs'),
}
"""Settings of MMSegmentation 0.x and other trainers, with their replacements."""

# Parts that are searched first.
_FIRST = ('train_dataloader', 'model', 'optim_wrapper', 'train_cfg')
_SHOWN = 4

# Settings that are True, False or text.
_OR_TEXT = ('backend', 'compile', 'efficient_conv_bn_eval', 'init_cfg', 'load_from',
            'loss_scale', 'pretrained', 'resume', 'save_best', 'sync_bn')  # fmt: skip


def check_options(cfg: Config, options: dict[str, Any]) -> None:
    """Raise for settings that nothing would read, or text in place of True or False.

    ``options`` are values by dotted key. The error names the settings that are read.
    """
    for key, value in options.items():
        first, dot, rest = key.partition('.')
        if first == 'data_preprocessor' and cfg.model.get(first):
            raise ValueError(
                f'{key} is not read, as the model has its own data_preprocessor. Set '
                f'model.{key}.'
            )
        if first == 'launcher':
            raise ValueError(f'{key}: the launcher is given by --launcher.')
        if first == 'scheme' and not cfg.get('scheme'):
            raise ValueError(
                f'{key} is set, but there is no scheme: add --co-train, for instance '
                '--co-train cosub.'
            )
        if first in READ:
            before = value_at(cfg, key)
            may_be_text = key.rpartition('.')[2] in _OR_TEXT
            if isinstance(before, bool) and isinstance(value, str) and not may_be_text:
                raise ValueError(
                    f'{key} must be True or False, as it is {before}, not {value!r}.'
                )
            continue
        if places := find_places(cfg, first, cfg.get(first)):
            used = ', as the config has used its own value' if first in cfg else ''
            at = ', '.join(place + dot + rest for place in places)
            said = f'{key} is not read{used}. Set {at} instead.'
        else:
            close = difflib.get_close_matches(first, sorted(READ), n=1)
            hint = f'Did you mean {close[0]!r}?' if close else 'Nothing reads it.'
            said = f'Unknown setting {key!r}. {hint}'
        # A user's code may read it.
        refuse(said, unless=bool(cfg.get('custom_imports')) and first in cfg)


def find_places(cfg: Config, name: str, value: Any = None) -> list[str]:
    """Find the settings that a variable, perhaps of a known value, may be meant for.

    Returns at most four dotted keys that end in the name or have the same value.
    """
    rest = sorted(READ & set(cfg) - set(_FIRST))
    order = [key for key in (*_FIRST, *rest) if key in cfg]
    every = [entry for key in order for entry in walk(cfg[key], key)]
    named = {at: inner for at, inner in every if at.rpartition('.')[2] == name}
    wanted: list[Any] = [
        v for v in named.values() if v and isinstance(v, dict | list | tuple)
    ]
    if value and isinstance(value, dict | list | tuple | str):
        wanted.append(value)
    same = [at for at, inner in every if inner in wanted]
    if not named and name in OLD and not same:
        return [OLD[name]]
    return list(dict.fromkeys([*named, *same]))[:_SHOWN]


def walk(part: Any, at: str = '') -> Iterator[tuple[str, Any]]:
    """Yield a part of a config and all its parts, with dotted keys."""
    yield at, part
    if isinstance(part, dict | Config):
        for key, inner in part.items():
            yield from walk(inner, f'{at}.{key}' if at else str(key))
    elif isinstance(part, list | tuple):
        for i, inner in enumerate(part):
            if isinstance(inner, dict | list | tuple):
                yield from walk(inner, f'{at}.{i}')


def value_at(cfg: Config, place: str) -> Any:
    """Return the value at a dotted key; None without one."""
    part: Any = cfg
    for key in place.split('.'):
        if isinstance(part, list | tuple):
            part = part[int(key)] if key.isdecimal() and int(key) < len(part) else None
        else:
            part = part.get(key) if hasattr(part, 'get') else None
    return part


def refuse(said: str, unless: bool) -> None:
    """Raise a ``ValueError``, or only log a warning."""
    if not unless:
        raise ValueError(said)
    print_log(said, 'current', logging.WARNING)
