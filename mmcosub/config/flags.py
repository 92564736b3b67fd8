"""Settings that flags change: the length of a training, probability metrics."""

from typing import Any

from mmengine.config import Config
from mmengine.registry import METRICS

from mmcosub.names import type_name

from .model_settings import last_head
from .unread import walk

_FOREVER = 10**9
"""MMEngine's end of a schedule that has no end of its own."""
_TIMES = ('begin', 'end', 'T_max', 'total_steps', 'step_size', 'milestones', 'periods')
_OF_HOOKS = ('begin_iter', 'begin_epoch', 'action_epoch', 'ramp')
_LINES = 10

_METRIC = 'ProbabilityMetric'
# Their outputs are no logits of classes that exclude one another.
_NO_LOGITS = ('MaskFormerHead', 'Mask2FormerHead', 'MultiLabelLinearClsHead')


def set_length(cfg: Config, key: str, value: int) -> None:
    """Set the length of a training and scale schedules and intervals with it.

    Scaled are the times of ``param_scheduler``, the intervals of validation and of
    checkpoints, the beginnings of custom hooks, and the ramp of unlabelled images. A
    schedule of which nothing is left is dropped. The key is 'max_iters' or
    'max_epochs', as the config counts.
    """
    flag = f'--{key.replace("_", "-")}'
    if value < 1:
        raise ValueError(f'{flag} {value} must be 1 or more.')
    loop = cfg.get('train_cfg') or {}
    if not loop.get(key):
        other = 'max_epochs' if key == 'max_iters' else 'max_iters'
        remedy = f': use --{other.replace("_", "-")}' if loop.get(other) else ''
        raise ValueError(f'{flag}: train_cfg of this config has no {key}{remedy}.')
    if intervals := loop.get('dynamic_intervals'):
        raise ValueError(
            f'{flag}: train_cfg.dynamic_intervals begins with {intervals[0]}, which is '
            'not scaled. Take it out of the config.'
        )
    factor = value / loop[key]
    loop[key] = value
    _scale(loop, ('val_begin', 'val_interval'), factor)
    if cfg.get('param_scheduler'):
        cfg.param_scheduler = _scaled_schedules(cfg.param_scheduler, factor, key, value)
    _scale(cfg.get('unlabelled') or {}, ('ramp_iters',), factor)
    hooks = cfg.get('default_hooks') or {}
    if hooks.get('checkpoint'):
        _scale(hooks['checkpoint'], ('interval',), factor)
    logger = hooks.get('logger')
    if logger and key == 'max_iters':
        # A run that is shorter than the interval would log nothing.
        logger['interval'] = min(logger.get('interval', 10), max(1, value // _LINES))
    for _, part in [*walk(cfg.get('custom_hooks') or [])]:
        if isinstance(part, dict):
            _scale(part, _OF_HOOKS, factor)


def _scaled_schedules(schedules: Any, factor: float, key: str, length: int) -> Any:
    if isinstance(schedules, dict) and 'type' not in schedules:  # one per optimizer
        return {
            name: _scaled_schedules(each, factor, key, length)
            for name, each in schedules.items()
        }
    schedules = [schedules] if isinstance(schedules, dict) else schedules
    for each in schedules:
        _scale(each, _TIMES, factor)
    return [e for e in schedules if _is_left(e, key, length)]


def _is_left(schedule: dict, key: str, length: int) -> bool:
    end = schedule.get('end', _FOREVER)
    if schedule.get('by_epoch', True) == (key == 'max_epochs'):
        end = min(end, length)
    # MMEngine ends a schedule of one step at its first value: a warm-up's 1e-6 stays.
    one_step = not schedule.get('convert_to_iter_based')
    return end - schedule.get('begin', 0) > one_step


def _scale(config: dict, keys: tuple[str, ...], factor: float) -> None:
    for key in {*keys} & {*config}:
        value = config[key]
        several = isinstance(value, list | tuple)
        scaled = [_scaled(each, factor) for each in (value if several else [value])]
        config[key] = scaled if several else scaled[0]


def _scaled(value: Any, factor: float) -> Any:
    """Scale a number of iterations or epochs; it is 0 only where it was 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return max(1, round(value * factor)) if 0 < value < _FOREVER else value


def add_probability_metrics(cfg: Config, loop: str = 'val') -> None:
    """Have validations and tests also measure NLL, ECE and Brier score, unless they do.

    Raises if nothing is measured in the loop, 'val' or 'test'.
    """
    if not cfg.get(f'{loop}_evaluator'):
        raise ValueError(
            f'--probability-metrics: the config has no {loop}_evaluator, so nothing is '
            f'measured. Set {loop}_dataloader, {loop}_cfg and {loop}_evaluator.'
        )
    head = last_head(cfg)
    if (kind := type_name(head)) in _NO_LOGITS:
        raise ValueError(
            f'--probability-metrics needs logits of classes, which {kind} does not '
            'predict. Leave the flag out.'
        )
    metric = dict(type=f'mmcosub.{_METRIC}')
    if 'ignore_index' in head and 'decode_head' in cfg.model:
        metric['ignore_index'] = head['ignore_index']
    for key in ('val_evaluator', 'test_evaluator'):
        if cfg.get(key):
            cfg[key] = _with(cfg[key], metric)


def _with(evaluator: Any, metric: dict) -> Any:
    """Return an evaluator's config with one more metric."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        return {**evaluator, 'metrics': _with(evaluator['metrics'], metric)}
    metrics = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]
    if any(type_name(each, METRICS) == _METRIC for each in metrics):
        return evaluator
    return [*metrics, metric]
