"""Flattened settings of runs, compared with each other."""

import inspect
from collections.abc import Sequence
from typing import Any

from mmengine.runner import Runner

_OURS = ('scheme', 'unlabelled', 'fast', 'bad_data', 'carry_over', 'allow_changes',
         'compile')  # fmt: skip
# Keys that do not affect training.
_SKIPPED = ('cfg', 'work_dir', 'launcher', 'experiment_name', 'visualizer')
# Settings of data loading that depend on the machine.
_OF_THE_MACHINE = ('.persistent_workers', '.pin_memory', '.collate_fn.type')
ABSENT = '–'
"""Placeholder for a missing setting."""


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
            flat |= flatten(value, key)
    return {k: v for k, v in flat.items() if not k.endswith(_OF_THE_MACHINE)}


def compare(configs: Sequence[dict[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return what differs between results of :func:`flat_settings`, by dotted key."""
    keys = sorted({key for config in configs for key in config})
    rows = {key: tuple(c.get(key, ABSENT) for c in configs) for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def flatten(value: Any, key: str) -> dict[str, str]:
    """Return a setting's parts, as text, by their dotted keys."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = [(name, inner) for name, inner in value.items() if name != '_scope_']
    elif isinstance(value, list | tuple) and any(isinstance(v, dict) for v in value):
        parts = enumerate(value)
    if not parts:
        return {key: repr(list(value) if isinstance(value, tuple) else value)}
    flat: dict[str, str] = {}
    for name, inner in parts:
        flat |= flatten(inner, f'{key}.{name}')
    return flat
