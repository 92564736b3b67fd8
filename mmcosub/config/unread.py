"""Checks for settings that nothing reads, with the settings to use instead."""

import ast
import importlib.util
import inspect
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import FlexibleRunner, Runner

from mmcosub.names import did_you_mean

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
            at, _, name = key.rpartition('.')
            beside = value_at(cfg, at) if at else None
            if isinstance(beside, dict) and name not in beside:
                # Others are arguments of a class, or names of parameters.
                free = 'type' not in beside and not at.endswith('custom_keys')
                if free and (hint := did_you_mean(name, beside, cutoff=0.8)):
                    raise ValueError(f'{key} is not read.{hint}')
            continue
        if places := _places(cfg, first, cfg.get(first)):
            used = ', as the config has used its own value' if first in cfg else ''
            at = ', '.join(place + dot + rest for place in places)
            said = f'{key} is not read{used}. Set {at} instead.'
        else:
            hint = did_you_mean(first, READ) or ' Nothing reads it.'
            said = f'Unknown setting {key!r}.{hint}'
        # A user's code may read it.
        refuse(said, unless=bool(cfg.get('custom_imports')) and first in cfg)


def check_file(path: Path, cfg: Config) -> None:
    """Raise for variables of a config file that do not reach their settings.

    A base file uses its own value of a variable: in a config with ``_base_``,
    ``crop_size = (64, 64)`` alone changes nothing. For configs inside packages, which
    have some such variables, it is logged as a warning.
    """
    try:
        tree = ast.parse(path.read_text('utf-8'))
        bases = list(_bases(path, tree))
    except (SyntaxError, ValueError):  # JSON or a template
        return
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    assigned = {t.id for t in targets if isinstance(t, ast.Name)} - {'_base_'}
    for name in sorted(assigned - loaded - READ):
        if cfg.get(name) is None or _is_current(cfg, name):
            continue  # for example in a dumped config
        places = _places(cfg, name)
        inherited = [c[name] for c in map(Config.fromfile, bases) if name in c]
        if name in OLD and not (name == 'optimizer' and cfg.get('optim_wrapper')):
            remedy = f' It is now {", ".join(places)}.'
        elif inherited or (bases and places):
            for before in inherited:
                places += _places(cfg, name, before)
            at = ', '.join(dict.fromkeys(places)) or 'the settings that it is for'
            remedy = f' _base_ has used its own value: set {at}.'
        else:
            # test_pipeline, in a dumped config, is no misspelt tta_pipeline.
            remedy = did_you_mean(name, READ, cutoff=0.9)
        if remedy:
            packaged = '.mim' in path.parts
            said = f'{path}: {name} is not read.{remedy}'
            refuse(said, unless=packaged or bool(cfg.get('custom_imports')))


def drop_overridden(cfg: Config) -> None:
    """Remove old settings that are variables, if flags have changed what they set.

    :func:`check_file` would refuse the dumped config.
    """
    for name in OLD.keys() - READ:
        if name in cfg and not _is_current(cfg, name):
            cfg.pop(name)


def _is_current(cfg: Config, name: str) -> bool:
    """Return True if a setting that a variable may be meant for has its value."""
    places = *_places(cfg, name), OLD.get(name, '')
    return cfg[name] in [value_at(cfg, place) for place in places]


def _bases(path: Path, tree: ast.Module) -> Iterator[Path]:
    """Return files that a config inherits from, by ``_base_`` or ``read_base()``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            named = ast.literal_eval(node.value)
            for name in [named] if isinstance(named, str) else named:
                package, _, inner = name.rpartition('::')
                folder = configs_of(package) if package else path.parent
                yield (folder or Path()) / inner
        elif isinstance(node, ast.With) and 'read_base' in ast.unparse(node.items[0]):
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.level and each.module:
                    root = path.parents[each.level - 1]
                    yield root.joinpath(*each.module.split('.')).with_suffix('.py')


def configs_of(package: str) -> Path | None:
    """Return the folder of configs in an installed package, which may lack it."""
    spec = importlib.util.find_spec(package)
    places = spec and spec.submodule_search_locations
    return Path(places[0], '.mim', 'configs') if places else None


def _places(cfg: Config, name: str, value: Any = None) -> list[str]:
    """Find the settings that a variable, perhaps of a known value, may be meant for.

    Returns at most four dotted keys that end in the name or have the same value.
    """
    order = [*_FIRST, *sorted(READ.difference(_FIRST))]
    every = [entry for key in order if key in cfg for entry in walk(cfg[key], key)]
    named = {at: inner for at, inner in every if at.rpartition('.')[2] == name}
    plain = (dict, list, tuple)
    wanted: list[Any] = [v for v in named.values() if v and isinstance(v, plain)]
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
