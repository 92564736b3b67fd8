"""Length of a training, with everything that goes by it."""

from typing import Any

from mmengine.config import Config

_FOREVER = 10**9
"""MMEngine's end of a schedule that has no end of its own."""
_TIMES = ('begin', 'end', 'T_max', 'total_steps', 'step_size', 'milestones', 'periods')
_OF_LOOPS = ('val_begin', 'val_interval')
_OF_HOOKS = ('begin_iter', 'begin_epoch', 'action_epoch', 'ramp')
_LINES = 10


def set_length(cfg: Config, key: str, value: int) -> None:
    """Set the length of a training and scale schedules and intervals with it.

    Scaled are the times of ``param_scheduler``, the intervals of validation and of
    checkpoints, and the beginnings of custom hooks. A schedule of which nothing is left
    is dropped.

    Args:
        cfg (Config): The config, changed in place.
        key (str): 'max_iters' or 'max_epochs'.
        value (int): Iterations or epochs to train for.

    Raises:
        ValueError: If the config counts in the other unit, or the value is below 1.
    """
    flag = f'--{key.replace("_", "-")}'
    if value < 1:
        raise ValueError(f'{flag} {value} must be 1 or more.')
    loop = cfg.get('train_cfg') or {}
    if not loop.get(key):
        other = 'max_epochs' if key == 'max_iters' else 'max_iters'
        remedy = f': use --{other.replace("_", "-")}' if loop.get(other) else ''
        raise ValueError(f'{flag}: train_cfg of this config has no {key}{remedy}.')
    factor = value / loop[key]
    loop[key] = value
    _scale(loop, _OF_LOOPS, factor)
    for each in loop.get('dynamic_intervals') or ():
        raise ValueError(
            f'{flag}: train_cfg.dynamic_intervals begins with {each}, which is not '
            'scaled. Take it out of the config.'
        )
    if cfg.get('param_scheduler'):
        cfg.param_scheduler = _scaled_schedules(cfg.param_scheduler, factor)
    hooks = cfg.get('default_hooks') or {}
    if (hooks.get('checkpoint') or {}).get('interval', -1) > 0:
        _scale(hooks['checkpoint'], ('interval',), factor)
    logger = hooks.get('logger')
    if logger and key == 'max_iters':
        # A run that is shorter than the interval would log nothing.
        logger['interval'] = min(logger.get('interval', 10), max(1, value // _LINES))
    _scale_hooks(cfg.get('custom_hooks') or [], factor)


def _scaled_schedules(schedules: Any, factor: float) -> Any:
    if isinstance(schedules, dict) and 'type' not in schedules:  # one per optimizer
        return {k: _scaled_schedules(v, factor) for k, v in schedules.items()}
    kept = []
    for each in [schedules] if isinstance(schedules, dict) else schedules:
        _scale(each, _TIMES, factor)
        if each.get('begin', 0) < each.get('end', _FOREVER):
            kept.append(each)
    return kept


def _scale_hooks(config: Any, factor: float) -> None:
    """Scale the beginnings in configs of hooks, whatever they are inside of."""
    if isinstance(config, dict):
        _scale(config, _OF_HOOKS, factor)
    if isinstance(config, dict | list | tuple):
        for each in config.values() if isinstance(config, dict) else config:
            _scale_hooks(each, factor)


def _scale(config: dict, keys: tuple[str, ...], factor: float) -> None:
    for key in keys:
        value = config.get(key)
        if isinstance(value, list | tuple):
            config[key] = [_scaled(each, factor) for each in value]
        elif value is not None:
            config[key] = _scaled(value, factor)


def _scaled(value: Any, factor: float) -> Any:
    """A number of iterations or epochs, 0 only where it was 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if value <= 0 or value >= _FOREVER:
        return value
    return max(1, round(value * factor))
