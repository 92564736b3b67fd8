"""Checks that a checkpoint has the state needed to resume exactly."""

from itertools import chain
from typing import Any

# Settings that imply an optimizer with state.
_WITH_STATE = {'betas', 'alpha', 'rho', 'lr_decay'}


def check_state(checkpoint: dict, filename: str) -> None:
    """Check for the iteration, optimizer and logs of a run.

    Args:
        checkpoint (dict): The checkpoint.
        filename (str): Name for messages.

    Raises:
        ValueError: If any is missing.
    """
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
    """Check that a checkpoint has the state of a run's schedules.

    Without it, schedules would restart from the current learning rate.

    Args:
        saved (dict | list, optional): State in the checkpoint.
        built (dict | list, optional): The schedules of the run.
        filename (str): Name of the checkpoint, for the message.

    Returns:
        str: A warning if schedules end elsewhere than the config's, else ''. MMEngine
            uses the checkpoint's, so a finished run that is resumed for longer keeps
            its last rate.

    Raises:
        ValueError: If the state is missing or of other schedules.
    """
    before, now = _kinds(saved), _kinds(built)
    if before == now:
        taken, given = _ends(saved), _ends(built)
        if taken == given:
            return ''
        return (
            f'The schedules of {filename} end at {taken}, those of this config at '
            f"{given}. The checkpoint's continue and keep their last value after their "
            'end. For a training of another length start from its weights: '
            f'--cfg-options load_from={filename}, without --resume.'
        )
    if not before:
        raise ValueError(
            f'{filename} has no state of the schedules (param_scheduler), so the '
            'learning rate would be wrong. It was saved with '
            'default_hooks.checkpoint.save_param_scheduler=False, or without '
            f'schedules. {_start_anew(filename)}'
        )
    raise ValueError(
        f'{filename} has the state of {len(before)} schedules, and this config has '
        f'{len(now)}, or others (param_scheduler). Resume with those of the original '
        f'run. {_start_anew(filename)}'
    )


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
    groups = optimizer['param_groups']
    has_state = any(
        _WITH_STATE & each.keys() or each.get('momentum') for each in groups
    )
    return ['state of the optimizer'] if has_state else []


def _states(schedules: Any) -> list[tuple[str, dict]]:
    """Yield the optimizer and state of each schedule, built or saved."""
    if not isinstance(schedules, dict):
        schedules = {'': schedules or []}
    return [
        (name, each if isinstance(each, dict) else each.state_dict())
        for name, group in schedules.items()
        for each in group
    ]


def _kinds(schedules: Any) -> list[tuple[str, list[str]]]:
    """Return the optimizer and setting names of each schedule."""
    return [(name, sorted(state)) for name, state in _states(schedules)]


def _ends(schedules: Any) -> list[int]:
    """Return the iteration or epoch at which each schedule ends."""
    return [state['end'] for _, state in _states(schedules) if 'end' in state]


def _start_anew(filename: str) -> str:
    return (
        f'To start from its weights: --cfg-options load_from={filename}, without '
        '--resume.'
    )
