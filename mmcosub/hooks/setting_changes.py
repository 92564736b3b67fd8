"""Flattened settings of runs, compared with each other and with base files."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

_OURS = ('scheme', 'fast', 'bad_data', 'carry_over', 'allow_changes')
# Keys that do not affect training.
_SKIPPED = ('cfg', 'work_dir', 'launcher', 'experiment_name', 'visualizer')
# Settings of data loading that depend on the machine.
_OF_THE_MACHINE = ('.persistent_workers', '.pin_memory', '.collate_fn.type')
ABSENT = '–'
"""Placeholder for a missing setting."""


@dataclass(frozen=True)
class Change:
    """Setting that differs.

    Args:
        key (str): Dotted key.
        values (tuple[str, ...]): Value in each config.
        source (str): Origin: 'config', 'command line' or '' if unknown.
    """

    key: str
    values: tuple[str, ...]
    source: str = ''


def flat_settings(cfg: Any) -> dict[str, str]:
    """Return settings that affect a run, by dotted key.

    Variables such as ``crop_size`` or ``train_pipeline`` are left out, as the settings
    that use them are included.
    """
    read = {*inspect.signature(Runner).parameters, *_OURS} - {*_SKIPPED}
    flat: dict[str, str] = {}
    # Class names instead of classes, as in a dumped config.
    for key, value in cfg.to_dict().items():
        if key in read:
            _flatten(key, value, flat)
    return {k: v for k, v in flat.items() if not k.endswith(_OF_THE_MACHINE)}


def compare(configs: Sequence[dict[str, str]]) -> list[Change]:
    """Return settings that differ between configs.

    Args:
        configs (Sequence[dict]): Results of :func:`flat_settings`.
    """
    keys = sorted({key for config in configs for key in config})
    rows = [(key, tuple(c.get(key, ABSENT) for c in configs)) for key in keys]
    return [Change(key, values) for key, values in rows if len(set(values)) > 1]


def against_base(run: dict[str, str], file: Path) -> list[Change]:
    """Return settings of a run that differ from its ``_base_`` files.

    Executes the config file and its bases.

    Args:
        run (dict): The run's :func:`flat_settings`.
        file (Path): The config file that it was started with.

    Returns:
        list[Change]: Each with the base's value, the run's value and its origin. A file
        without bases is its own base.
    """
    own = flat_settings(Config.fromfile(file))
    bases = _bases(file)
    base = own
    if bases:
        base = flat_settings(Config.fromstring(f'_base_ = {bases!r}', '.py'))
    return [
        replace(change, source=_source(own.get(change.key, ABSENT), change))
        for change in compare([base, run])
    ]


def _source(own: str, change: Change) -> str:
    """Return the origin of a value, given that of the config file."""
    return 'config' if own == change.values[1] else 'command line'


def _bases(file: Path) -> list[str]:
    """Return a config's ``_base_``, as other files can name them."""
    bases = Config._get_base_files(str(file))
    return [b if '::' in b else str(file.parent / b) for b in bases]


def _flatten(key: str, value: Any, flat: dict[str, str]) -> None:
    """Add a setting's parts under their dotted keys."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            if name != '_scope_':
                _flatten(f'{key}.{name}', inner, flat)
    elif isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value):
        for i, inner in enumerate(value):
            _flatten(f'{key}.{i}', inner, flat)
    else:
        flat[key] = repr(list(value) if isinstance(value, tuple) else value)
