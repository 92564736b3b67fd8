"""Checks that a checkpoint is of this run and has the state to resume exactly."""

import json
from itertools import chain
from typing import Any

from mmcosub.config.setting_changes import ABSENT, compare, flatten
from mmcosub.names import type_name

KEY = 'mmcosub'
"""Key of a run's fingerprint in a checkpoint's ``meta``."""

# Settings that do not change the results.
_NO_DIFFERENCE = ('execution', 'lean', '_scope_', 'data_root', 'pipeline', 'strong')
# State of a schedule that changes, or follows from the optimizer.
_PROGRESS = {
    *('_global_step', '_last_value', 'base_values', 'best', 'cooldown_counter'),
    *('last_step', 'num_bad_epochs', 'verbose'),
}
# Settings that imply an optimizer with state.
_WITH_STATE = {'betas', 'alpha', 'rho', 'lr_decay'}


def fingerprint(cfg: Any, batch: int, ranks: int) -> dict[str, Any]:
    """Return the settings that must be equal to resume a run exactly, as JSON types.

    Of the run's config, the images in a batch and the number of processes.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    parts = [cfg.get('scheme'), cfg.get('unlabelled'), wrapper.get('optimizer')]
    scheme, unlabelled, optimizer = (
        {k: v for k, v in (part or {}).items() if k not in _NO_DIFFERENCE}
        for part in parts
    )
    for part in (scheme, optimizer):
        if 'type' in part:  # a class, or its name with or without a scope
            name = getattr(part['type'], '__name__', part['type'])
            part['type'] = str(name).rpartition('.')[2]
    mixed = type_name(wrapper) == 'AmpOptimWrapper'
    found = dict(
        co_trained=bool(scheme),
        scheme=scheme,
        batch_size=batch,
        processes=ranks,
        unlabelled=unlabelled,
        accumulative_counts=wrapper.get('accumulative_counts', 1),
        mixed_precision=mixed and str(wrapper.get('dtype') or 'default type'),
        optimizer={**optimizer, 'paramwise_cfg': wrapper.get('paramwise_cfg') or {}},
    )
    return json.loads(
        json.dumps(found, default=lambda value: getattr(value, '__name__', str(value)))
    )


def fingerprint_in(checkpoint: dict) -> dict[str, Any]:
    """Return the fingerprint in a checkpoint.

    For one of MMEngine or an older version, only ``co_trained`` is known.
    """
    plans = checkpoint['message_hub'].get('runtime_info', {}).get('co_training_plans')
    return {'co_trained': bool(plans), **(checkpoint['meta'].get(KEY) or {})}


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Describe the differences of two fingerprints; keys not ``saved`` are left out."""
    compared = set(saved)
    if saved.get('co_trained') != now.get('co_trained'):
        compared.discard('scheme')  # everything in it differs
    sides: list[dict[str, str]] = []
    for side in (saved, now):
        flat = [flatten(side[key], key) for key in compared & side.keys()]
        sides.append({k: v for part in flat for k, v in part.items() if v != '{}'})
    found = []
    for key, values in compare(sides).items():
        was, becomes = ('not set' if v == ABSENT else v for v in values)
        found.append(f'{key} was {was} and is {becomes}')
    return found


def check_state(checkpoint: dict, filename: str) -> None:
    """Raise if a checkpoint lacks the iteration, optimizer or logs of a run."""
    meta, hub, optimizer = (
        value if isinstance(value := checkpoint.get(key), dict) else {}
        for key in ('meta', 'message_hub', 'optimizer')
    )
    lacking = []
    if not meta:
        lacking.append('meta')
    elif any(type(meta.get(k)) is not int or meta[k] < 0 for k in ('epoch', 'iter')):
        lacking.append('iteration')
    if not {'log_scalars', 'runtime_info', 'resumed_keys'} <= hub.keys():
        lacking.append('message_hub')
    lacking += _lacking_state(optimizer, 'accumulated_gradients' in checkpoint)
    if 'ema_state_dict' in checkpoint:
        averaged = {k.removeprefix('module.') for k in checkpoint['ema_state_dict']}
        lacking += sorted(checkpoint.get('state_dict', {}).keys() - averaged)[:1]
    if lacking:
        raise ValueError(
            f'{filename} has weights only, so there is no run to resume '
            f'(no {", ".join(lacking)}). {_start_anew(filename)}'
        )


def check_schedules(saved: Any, built: Any, filename: str) -> str:
    """Raise if a checkpoint lacks the state of a run's schedules, or has others.

    Without it, schedules would restart from the current learning rate. Returns the
    differences of their settings.
    """
    before, now = (
        [(name, _settings(state)) for name, state in states_of(schedules)]
        for schedules in (saved, built)
    )
    if [(name, [*each]) for name, each in before] != [(n, [*each]) for n, each in now]:
        what = f'the state of {len(before)} schedules'
        if not before:
            what = 'no state of the schedules (save_param_scheduler=False?)'
        raise ValueError(
            f'{filename} has {what}, and this config has {len(now)}, or others '
            '(param_scheduler), so the learning rate would be wrong. Resume with those '
            f'of the original run. {_start_anew(filename)}'
        )
    sides = [{'param_scheduler': [s for _, s in each]} for each in (before, now)]
    return '; '.join(differences(*sides))


def is_built(schedules: Any) -> bool:
    """Return True if schedules are objects rather than configs."""
    if isinstance(schedules, dict):
        return 'type' not in schedules and all(map(is_built, schedules.values()))
    return not isinstance(schedules, list) or all(map(is_built, schedules))


def _lacking_state(optimizer: dict, before_first_step: bool) -> list[str]:
    """Describe what an optimizer's saved state lacks."""
    if 'param_groups' not in optimizer:
        parts = [each for each in optimizer.values() if isinstance(each, dict)]
        found = [_lacking_state(part, before_first_step) for part in parts]
        return [*chain(*found)] if parts else ['optimizer']
    if optimizer.get('state') or before_first_step or 'loss_scaler' in optimizer:
        return []  # a loss scaler may have skipped all steps so far
    has_state = any(
        _WITH_STATE & group.keys() or group.get('momentum')
        for group in optimizer['param_groups']
    )
    return ['state of the optimizer'] if has_state else []


def _settings(state: dict) -> dict[str, Any]:
    """Return what a schedule was configured with, by sorted keys."""
    keys = sorted(state.keys() - _PROGRESS)
    return {key: state[key] for key in keys if not callable(state[key])}


def states_of(schedules: Any) -> list[tuple[str, dict]]:
    """Return the optimizer and state of each schedule, built or saved."""
    if not isinstance(schedules, dict):
        schedules = {'': schedules or []}
    return [
        (name, each if isinstance(each, dict) else each.state_dict())
        for name, group in schedules.items()
        for each in group
    ]


def _start_anew(filename: str) -> str:
    return (
        f'To start from its weights: --cfg-options load_from={filename}, without '
        '--resume.'
    )
