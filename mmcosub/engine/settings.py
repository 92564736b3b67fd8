"""Settings that are checked before anything is built from them."""

import difflib
import inspect
import math
import os
import types
import typing
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from mmcosub.checkpoints.carry_over import check_min_match
from mmcosub.registry import SCHEMES
from mmcosub.submodels import spread_rates

# What each launcher tells the processes that it starts.
_LAUNCHERS = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'),
}
# What the tools and our runners read, besides the arguments of MMEngine's.
_READ = (
    'allow_changes',
    'bad_data',
    'carry_over',
    'compile',
    'custom_imports',
    'data_preprocessor',
    'fast',
    'find_unused_parameters',
    'runner_type',
    'scheme',
    'strategy',
    'trust_checkpoint',
    'tta_model',
    'tta_pipeline',
)
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


def check_options(cfg: Config, options: dict[str, Any]) -> None:
    """Refuse settings that would be put where nothing reads them.

    Args:
        cfg (Config): The config.
        options (dict): Values by dotted key.

    Raises:
        ValueError: If the first part of a key is new and looks like another's.
    """
    known = [*cfg, *inspect.signature(Runner).parameters, *_READ]
    for key in options:
        first = key.partition('.')[0]
        if first == 'scheme' and not cfg.get('scheme'):
            raise ValueError(
                f'{key} is set, but there is no scheme: add --co-train, for instance '
                '--co-train cosub.'
            )
        if first == 'launcher':
            raise ValueError(f'{key}: the launcher is given by --launcher.')
        close = difflib.get_close_matches(first, known, n=1)
        if first not in known and close:
            raise ValueError(f'Unknown setting {key!r}. Did you mean {close[0]!r}?')


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
