"""Settings that are checked before anything is built from them."""

import difflib
import inspect
import logging
import math
import os
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmcosub.checkpoints.carry_over import check_min_match
from mmcosub.registry import SCHEMES
from mmcosub.submodels import spread_rates

# What each launcher tells the processes that it starts.
_LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
}
_STARTS = {
    'pytorch': 'tools/dist_train.sh CONFIG GPUS (or torchrun)',
    'slurm': 'tools/slurm_train.sh (or srun)',
    'mpi': 'mpirun',
}


def check_launcher(launcher: str) -> None:
    """Refuse a launcher that has not started this process.

    Args:
        launcher (str): 'none', 'pytorch', 'slurm' or 'mpi'.

    Raises:
        ValueError: If what it would have set is not set.
    """
    missing = [n for n in _LAUNCHERS.get(launcher, ()) if n not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher {launcher} is for processes that it has started, and '
            f'{", ".join(missing)} is not set. Start with {_STARTS[launcher]}, or '
            'leave --launcher out for one process.'
        )


def check_scheme(scheme: Any) -> None:
    """Refuse a scheme with a setting that it does not have, or of another kind.

    Args:
        scheme (dict): Config of the scheme.

    Raises:
        ValueError: If a key is unknown, or a value is not finite or of a type that the
            scheme does not take.
    """
    if not isinstance(scheme, dict):
        raise ValueError(
            f'scheme must be a dict with a type, such as dict(type="mmcosub.Cosub"), '
            f'not {scheme!r}.'
        )
    name = scheme.get('type')
    kind = SCHEMES.get(name) if isinstance(name, str) else name
    if kind is None:
        if 'type' not in scheme:
            return  # said where the model is built
        names = sorted(SCHEMES.module_dict)
        raise ValueError(f'Unknown scheme.type {name!r}. Valid ones are {names}.')
    if 'drop_path_decay' in scheme:
        spread_rates(0.1, [0], scheme['drop_path_decay'])  # is it valid?
    accepted = dict(_arguments(kind))
    for key, value in scheme.items():
        if key in ('type', '_scope_'):
            continue
        if key not in accepted:
            close = difflib.get_close_matches(str(key), accepted, n=1)
            raise ValueError(
                f'scheme.{key}: {kind.__name__} has no such setting. '
                + (f'Did you mean {close[0]!r}? ' if close else '')
                + f'Valid ones are {sorted(accepted)}.'
            )
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f'scheme.{key} must be a finite number, not {value}.')
        if not _fits(value, accepted[key]):
            raise ValueError(
                f'scheme.{key} must be {_in_words(accepted[key])}, not {value!r}.'
            )


def check_carry_over(options: Any) -> None:
    """Refuse settings that carrying a backbone over does not have.

    Args:
        options (dict, optional): The config's ``carry_over``.

    Raises:
        ValueError: If a key is unknown or ``min_match`` is no share.
    """
    options = options or {}
    known = ['allow_unused', 'grid', 'min_match', 'weights']
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f'carry_over has {unknown}; it may have {known}.')
    check_min_match(options.get('min_match', 1.0))


def _arguments(kind: Any) -> Iterator[tuple[str, Any]]:
    """Names and types of what a class takes, its bases included."""
    for base in reversed(kind.__mro__):
        if '__init__' not in vars(base) or base is object:
            continue
        try:
            hints = typing.get_type_hints(base.__init__)
        except NameError:  # of what is imported for type checkers only
            hints = {}
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            if name != 'self' and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                yield name, hints.get(name, Any)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type, for the plain ones; all else is let pass."""
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
             str: 'text', type(None): 'None'}  # fmt: skip
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return ' or '.join(names.get(each, str(each)) for each in options)


# Only some variants of a network have these, so that rules without weight decay may
# name them in vain: upstream's configs of Swin do so with `absolute_pos_embed`.
_OPTIONAL = re.compile(
    r'bias|bn|gamma|ln|norm|embed|feat|rel_pos|table|token|pos_block'
)


def check_custom_keys(model: nn.Module, optim_wrapper: dict, stock: bool) -> None:
    """Refuse rules of ``paramwise_cfg`` that no parameter follows.

    Args:
        model (nn.Module): The model.
        optim_wrapper (dict): Config of the optimizer wrapper.
        stock (bool): Whether the config came with a package; it then logs a warning.

    Raises:
        ValueError: If a key of ``custom_keys`` is part of no parameter's name, or the
            constructor reads no ``custom_keys``.
    """
    at = 'optim_wrapper.paramwise_cfg.custom_keys'
    keys = (optim_wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    constructor = str(optim_wrapper.get('constructor', ''))
    if keys and constructor.endswith('DecayOptimizerConstructor'):  # of mmseg
        refuse(f'{at}: {constructor} reads no custom_keys. Leave one out.', stock)
    names = [name for name, _ in model.named_parameters()]
    parts = {n.rsplit('.', i)[0] for n in names for i in range(n.count('.') + 1)}
    for key, options in keys.items():
        # A parameter of the model itself begins with a dot for MMEngine.
        if any(key in (name if '.' in name else f'.{name}') for name in names):
            continue
        if options.get('lr_mult', 1) == 1 and _OPTIONAL.search(key.split('.')[-1]):
            print_log(f'{at}: no parameter has {key!r} in its name.', 'current')
            continue
        close = difflib.get_close_matches(key, parts, n=1)
        refuse(
            f'{at}: no parameter has {key!r} in its name. '
            + (f'Did you mean {close[0]!r}?' if close else f'One is {names[0]!r}.'),
            stock,
        )


def refuse(said: str, unless: bool) -> None:
    """Raise, or only warn.

    Args:
        said (str): What is wrong.
        unless (bool): Whether to log a warning instead.

    Raises:
        ValueError: Unless it only warns.
    """
    if not unless:
        raise ValueError(said)
    print_log(said, 'current', logging.WARNING)
