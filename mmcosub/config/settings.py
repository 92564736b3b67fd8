"""Checks of settings before anything is built from them."""

import math
import os
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIMIZERS
from torch import nn

from mmcosub.checkpoints.pretrained import check_min_match
from mmcosub.names import did_you_mean
from mmcosub.registry import SCHEMES
from mmcosub.submodels.class_table import arguments_of

from .unread import refuse
from .where import unknown_type

# Environment variables that each launcher sets, and how to start it.
_LAUNCHERS = {
    'pytorch': (
        ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
        'tools/dist_train.sh CONFIG GPUS (or torchrun)',
    ),
    'slurm': (
        ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
        'tools/slurm_train.sh (or srun)',
    ),
    'mpi': (('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'), 'mpirun'),
}

_TYPES = {
    dict: (
        *('auto_scale_lr', 'custom_imports', 'default_hooks', 'env_cfg'),
        *('log_processor', 'model_wrapper_cfg', 'optim_wrapper', 'randomness'),
        *('strategy', 'unlabelled', 'visualizer'),
        *(f'{s}_{p}' for s in ('train', 'val', 'test') for p in ('cfg', 'dataloader')),
    ),
    str: ('default_scope', 'experiment_name', 'load_from', 'work_dir'),
    bool: ('fast', 'find_unused_parameters', 'resume', 'skip_checks'),
}

# Only some networks have these, so rules without weight decay may match none:
# upstream's Swin configs have `absolute_pos_embed`, recipes for several networks more.
_OPTIONAL = re.compile(
    r'bias|bn|cpb_mlp|gamma|ln|norm|embed|feat|rel_pos|scale|table|token|pos_block'
)
_RULES = (
    *('bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate', 'custom_keys'),
    *('dcn_offset_lr_mult', 'dwconv_decay_mult', 'flat_decay_mult', 'norm_decay_mult'),
)


def check_types(cfg: Config) -> None:
    """Raise if a top-level setting has a type that MMEngine does not take."""
    for kind, names in _TYPES.items():
        for name in names:
            value = cfg.get(name)
            if value is not None and not isinstance(value, kind):
                raise ValueError(f'{name} must be {_in_words(kind)}, not {value!r}.')


def check_launcher(launcher: str) -> None:
    """Raise if the launcher has not started this process, or set odd variables."""
    names, start = _LAUNCHERS.get(launcher, ((), ''))
    for name in sorted({*names, 'LOCAL_RANK'} & {*os.environ}):
        number = name.endswith(('RANK', 'SIZE', 'PORT', 'PROCID', 'NTASKS'))
        if number and not os.environ[name].isdecimal():
            raise ValueError(
                f'The environment variable {name} must be a whole number, not '
                f'{os.environ[name]!r}. The launcher sets it: unset it, or start anew.'
            )
    if missing := [name for name in names if name not in os.environ]:
        raise ValueError(
            f'--launcher {launcher} is for processes that it has started, and '
            f'{", ".join(missing)} is not set. Start with {start}, or leave --launcher '
            'out for one process.'
        )


def check_scheme(scheme: Any) -> None:
    """Raise for an unknown setting of a scheme, or one of a wrong type."""
    if not isinstance(scheme, dict):
        raise ValueError(
            f'scheme must be a dict with a type, such as dict(type="mmcosub.Cosub"), '
            f'not {scheme!r}.'
        )
    if 'type' not in scheme:
        return  # reported when the model is built
    name = scheme['type']
    kind = SCHEMES.get(name) if isinstance(name, str) else name
    if kind is None:
        names = sorted(SCHEMES.module_dict)
        raise ValueError(f'Unknown scheme.type {name!r}. Valid ones are {names}.')
    check_arguments('scheme', scheme, kind)


def check_arguments(
    at: str, options: dict, kind: type, also: Iterable[str] = ()
) -> None:
    """Raise for options that are no arguments of a class, or of a wrong type.

    ``at`` names the options in the config, and ``also`` others that they may have.
    """
    accepted = {**dict.fromkeys(also, Any), **arguments_of(kind)}
    for key, value in options.items():
        if key in ('type', '_scope_'):
            continue
        if key not in accepted:
            raise ValueError(
                f'{at}.{key}: {kind.__name__} has no such setting.'
                f'{did_you_mean(str(key), accepted)} Valid ones are {sorted(accepted)}.'
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'{at}.{key} must be a finite number, not {value}.')
        if not _fits(value, accepted[key]):
            raise ValueError(
                f'{at}.{key} must be {_in_words(accepted[key])}, not {value!r}.'
            )


def _fits(value: Any, hint: Any) -> bool:
    """Return True if a value is of a plain type; other types pass."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return any(_fits(value, each) for each in typing.get_args(hint))
    if hint in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (hint is float or float(value).is_integer())
    if hint in (bool, str, type(None)):
        return isinstance(value, hint)
    return True


def _in_words(hint: Any) -> str:
    names = {int: 'a whole number', float: 'a number', bool: 'True or False',
             str: 'text', type(None): 'None', dict: 'a dict'}  # fmt: skip
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return ' or '.join(names.get(each, str(each)) for each in options)


def check_carry_over(options: Any) -> None:
    """Raise for unknown keys in ``carry_over``, or ``min_match`` outside [0, 1]."""
    options = options or {}
    known = ['allow_unused', 'grid', 'min_match', 'weights']
    if unknown := sorted(set(options) - set(known)):
        raise ValueError(f'carry_over has {unknown}; it may have {known}.')
    check_min_match(options.get('min_match', 1.0))


def check_optimizer(model: nn.Module, optim_wrapper: dict, stock: bool) -> None:
    """Raise for an unknown optimizer, or rules that match no parameter.

    In a config that is part of a package (``stock``), rules without effect are only
    logged.
    """
    optimizer = optim_wrapper.get('optimizer') or {}
    rules = optim_wrapper.get('paramwise_cfg') or {}
    keys = rules.get('custom_keys') or {} if isinstance(rules, dict) else {}
    dicts = {'optimizer': optimizer, 'paramwise_cfg': rules}
    for name, part in {**dicts, 'paramwise_cfg.custom_keys': keys}.items():
        if not isinstance(part, dict):
            raise ValueError(f'optim_wrapper.{name} must be a dict, not {part!r}.')
    kind, constructor = optimizer.get('type'), optim_wrapper.get('constructor')
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        if isinstance(kind, str) and registry.get(kind) is None:
            place = 'optim_wrapper.optimizer.type'
            raise ValueError(unknown_type(place, kind, registry))
    wrong = sorted({*rules} - {*_RULES})
    if wrong and constructor in (None, 'DefaultOptimWrapperConstructor'):
        hint = did_you_mean(wrong[0], _RULES)
        refuse(f'optim_wrapper.paramwise_cfg.{wrong[0]} is not read.{hint}', stock)
    at = 'optim_wrapper.paramwise_cfg.custom_keys'
    if keys and str(constructor).endswith('DecayOptimizerConstructor'):  # of mmseg
        refuse(f'{at}: {constructor} reads no custom_keys. Leave one out.', stock)
    names = [name for name, _ in model.named_parameters()]
    parts = {n.rsplit('.', i)[0] for n in names for i in range(n.count('.') + 1)}
    words = {word for name in names for word in name.split('.')}
    for key, options in keys.items():
        # In MMEngine, a parameter of the model itself begins with a dot.
        if any(key in (name if '.' in name else f'.{name}') for name in names):
            continue
        last = key.split('.')[-1]
        misspelt = did_you_mean(last, words, cutoff=0.85)
        if not misspelt and options.get('lr_mult', 1) == 1 and _OPTIONAL.search(last):
            continue
        hint = did_you_mean(key, parts) or misspelt or f' One is {names[0]!r}.'
        refuse(f'{at}: no parameter has {key!r} in its name.{hint}', stock)
