"""Checks for settings that nothing reads, and the settings to use instead."""

import ast
import difflib
import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import FlexibleRunner, Runner

from .settings import refuse

# Read from the config by MMEngine, the tools and our runners, beside the arguments of
# MMEngine's runners.
_READ = {
    *('activation_checkpointing', 'allow_changes', 'bad_data', 'carry_over', 'compile'),
    *('custom_imports', 'efficient_conv_bn_eval', 'fast', 'find_unused_parameters'),
    *('init_weights_for_test_or_val', 'model_wrapper_cfg', 'runner_type', 'scheme'),
    *('skip_checks', 'sync_bn', 'trust_checkpoint', 'tta_model'),
    'tta_pipeline',
    *inspect.signature(Runner).parameters,
    *inspect.signature(FlexibleRunner).parameters,
} - {'cfg'}  # fmt: skip

_OLD = {
    'checkpoint_config': 'default_hooks.checkpoint',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'data': 'train_dataloader, val_dataloader and test_dataloader',
    'deterministic': 'randomness.deterministic',
    'dist_params': 'env_cfg.dist_cfg',
    'epochs': 'train_cfg.max_epochs',
    'evaluation': 'val_evaluator and train_cfg.val_interval',
    'fp16': '--amp',
    'gpu_ids': '--launcher',
    'gpus': '--launcher',
    'batch_size': 'train_dataloader.batch_size',
    'iters': 'train_cfg.max_iters',
    'log_config': 'default_hooks.logger and visualizer',
    'lr': 'optim_wrapper.optimizer.lr',
    'lr_config': 'param_scheduler',
    'max_epochs': 'train_cfg.max_epochs',
    'max_iters': 'train_cfg.max_iters',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer_config': 'optim_wrapper',
    'resume_from': '--resume',
    'runner': 'train_cfg',
    'samples_per_gpu': 'train_dataloader.batch_size',
    'seed': 'randomness.seed',
    'total_epochs': 'train_cfg.max_epochs',
    'total_iters': 'train_cfg.max_iters',
    'workers_per_gpu': 'train_dataloader.num_workers',
    'workflow': 'train_cfg',
}
"""Settings of MMSegmentation 0.x and other trainers, and what replaces them."""

_OF_VERSION_0 = {
    *('checkpoint_config', 'data', 'evaluation', 'log_config', 'lr_config'),
    *('optimizer_config', 'runner', 'workflow'),
}
# Where a setting is looked for first.
_FIRST = ('train_dataloader', 'model', 'optim_wrapper', 'train_cfg')
_SHOWN = 4


def check_version(path: Path, cfg: Config) -> None:
    """Refuse a config of MMSegmentation 0.x.

    Args:
        path (Path): Its file.
        cfg (Config): The config.

    Raises:
        ValueError: If it has no ``train_dataloader`` and two or more settings of 0.x.
    """
    old = [name for name in _OLD if cfg.get(name) is not None]
    if len(_OF_VERSION_0.intersection(old)) > 1 and not (
        cfg.get('train_dataloader') or cfg.get('optim_wrapper')
    ):
        new = '; '.join(f'{name} is now {_OLD[name]}' for name in old)
        raise ValueError(
            f'{path} is a config of MMSegmentation 0.x, which MMEngine does not read: '
            f'{new}. Start from the config of the same name in mmseg:: of today.'
        )


def check_options(cfg: Config, options: dict[str, Any]) -> None:
    """Refuse settings that would be put where nothing reads them.

    Args:
        cfg (Config): The config.
        options (dict): Values by dotted key.

    Raises:
        ValueError: If the first part of a key is not read, naming what is.
    """
    for key in options:
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
        if first in _READ:
            continue
        places = find_places(cfg, first, cfg.get(first))
        if places:
            used = ', as the config has used its own value' if first in cfg else ''
            at = ', '.join(place + dot + rest for place in places)
            said = f'{key} is not read{used}. Set {at} instead.'
        else:
            said = f'Unknown setting {key!r}.' + _hint(first)
        # A user's own code may read it.
        refuse(said, unless=bool(cfg.get('custom_imports')) and first in cfg)


def check_file(path: Path, cfg: Config) -> None:
    """Refuse variables of a config file that do not reach the settings they name.

    A base has used its own value by then: in a config with ``_base_``,
    ``crop_size = (64, 64)`` alone changes nothing.

    Args:
        path (Path): The file.
        cfg (Config): The config as it was read from it.

    Raises:
        ValueError: If there is such a variable. Of a config inside a package it is
            logged as a warning, as those have some.
    """
    try:
        tree = ast.parse(path.read_text('utf-8'))
        bases = list(_bases(path, tree))
        inherited = {name for base in bases for name in _names(base)}
    except (SyntaxError, ValueError):  # JSON, or a template that is no Python
        return
    loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)
              and isinstance(n.ctx, ast.Load)}  # fmt: skip
    for name in _assigned(tree) - loaded - _READ:
        value = cfg.get(name)
        places = find_places(cfg, name)
        current = [_value(cfg, place) for place in (*places, _OLD.get(name, ''))]
        if value is None or value in current:  # such as in a config that was dumped
            continue
        if name in _OLD and not (name == 'optimizer' and cfg.get('optim_wrapper')):
            mend = f'It is now {_OLD[name]}.'
        elif name in inherited or (bases and places):
            for base in bases:
                before = Config.fromfile(base).get(name)
                places += [p for p in find_places(cfg, name, before) if p not in places]
            at = ', '.join(places) or 'the settings that it is for'
            mend = f'_base_ has used its own value: set {at}.'
        elif close := difflib.get_close_matches(name, _READ, n=1, cutoff=0.88):
            mend = f'Did you mean {close[0]!r}?'
        else:
            continue
        said = f'{path}: {name} is not read. {mend}'
        refuse(said, unless='.mim' in path.parts or bool(cfg.get('custom_imports')))


def find_places(cfg: Config, name: str, value: Any = None) -> list[str]:
    """Find the settings that a variable may have been meant for.

    Args:
        cfg (Config): The config.
        name (str): Name of the variable.
        value (Any, optional): Its value, where it is known. Defaults to None.

    Returns:
        list[str]: Dotted keys, at most four: those that end in the name, and those of
        the same value.
    """
    rest = sorted(_READ & set(cfg) - set(_FIRST))
    order = [key for key in (*_FIRST, *rest) if key in cfg]
    every = [entry for key in order for entry in _walk(cfg[key], key)]
    named = {at: inner for at, inner in every if at.rpartition('.')[2] == name}
    wanted = [v for v in named.values() if v and isinstance(v, dict | list | tuple)]
    if value and isinstance(value, dict | list | tuple | str):
        wanted.append(value)
    same = [at for at, inner in every if inner in wanted]
    if not named and name in _OLD and not same:
        return [_OLD[name]]
    return list(dict.fromkeys([*named, *same]))[:_SHOWN]


def _walk(part: Any, at: str) -> Iterator[tuple[str, Any]]:
    yield at, part
    if isinstance(part, dict):
        for key, inner in part.items():
            yield from _walk(inner, f'{at}.{key}')
    elif isinstance(part, list | tuple):
        for i, inner in enumerate(part):
            if isinstance(inner, dict | list | tuple):
                yield from _walk(inner, f'{at}.{i}')


def _value(cfg: Config, place: str) -> Any:
    part: Any = cfg
    for key in place.split('.'):
        if isinstance(part, list | tuple):
            part = part[int(key)]
        else:
            part = part.get(key) if hasattr(part, 'get') else None
    return part


def _hint(name: str) -> str:
    close = difflib.get_close_matches(name, sorted(_READ), n=1)
    return f' Did you mean {close[0]!r}?' if close else ' Nothing reads it.'


def _assigned(tree: ast.Module) -> set[str]:
    """Names that a module assigns plain values to."""
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    return {t.id for t in targets if isinstance(t, ast.Name)} - {'_base_'}


def _names(path: Path) -> set[str]:
    """Names that a config file or its bases assign."""
    tree = ast.parse(path.read_text('utf-8'))
    return _assigned(tree).union(*(_names(base) for base in _bases(path, tree)))


def _bases(path: Path, tree: ast.Module) -> Iterator[Path]:
    """Files that a config inherits from: by ``_base_``, or ``with read_base():``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            named = ast.literal_eval(node.value)
            for name in [named] if isinstance(named, str) else named:
                package, _, inner = name.rpartition('::')
                root = path.parent
                if package:
                    found = importlib.util.find_spec(package)
                    places = found and found.submodule_search_locations
                    root = Path(places[0] if places else '', '.mim', 'configs')
                yield root / inner
        elif isinstance(node, ast.With) and 'read_base' in ast.unparse(node.items[0]):
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.level and each.module:
                    root = path.parents[each.level - 1]
                    yield root.joinpath(*each.module.split('.')).with_suffix('.py')
