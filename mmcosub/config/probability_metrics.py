"""Probability metrics beside those of a config."""

from typing import Any

from mmengine.config import Config
from mmengine.registry import METRICS

from mmcosub.names import type_name

_METRIC = 'ProbabilityMetric'
# Their outputs are no logits of classes that exclude one another.
_NO_LOGITS = ('MaskFormerHead', 'Mask2FormerHead', 'MultiLabelLinearClsHead')


def add_probability_metrics(cfg: Config) -> None:
    """Have validations also measure NLL, ECE and Brier score, unless they do.

    Args:
        cfg (Config): The config, changed in place.

    Raises:
        ValueError: If it has no validation, or the model no logits.
    """
    if not cfg.get('val_evaluator'):
        raise ValueError(
            '--probability-metrics: the config has no val_evaluator, so that nothing '
            'is validated. Set val_dataloader, val_cfg and val_evaluator.'
        )
    heads = cfg.model.get('decode_head') or cfg.model.get('head') or {}
    head = heads[-1] if isinstance(heads, list | tuple) else heads
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
    """An evaluator's config with one more metric."""
    if isinstance(evaluator, dict) and 'metrics' in evaluator:
        return {**evaluator, 'metrics': _with(evaluator['metrics'], metric)}
    metrics = list(evaluator) if isinstance(evaluator, list | tuple) else [evaluator]
    if any(type_name(each, METRICS) == _METRIC for each in metrics):
        return evaluator
    return [*metrics, metric]
