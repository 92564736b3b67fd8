"""Consistency of the ignored label in heads, padding and metrics."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import METRICS, TRANSFORMS

from mmcosub.config.unread import walk
from mmcosub.names import type_name

_DEFAULT = 255  # default of MMCV and MMSegmentation
_PAD = ('RandomRotate', 'RandomMosaic')


def check_pad_values(
    preprocessor: Any, dataset: Any, num_classes: int, ignore_index: int
) -> None:
    """Raise if transforms pad label maps with what is neither class nor ignored.

    Padding with a class is reported, as the network learns it. So is an invalid value
    of the preprocessor, which pads smaller images only. ``dataset`` is a config.
    """
    pads = [*_pad_values(dataset)]
    transforms = len(pads)
    if any(getattr(preprocessor, key, None) for key in ('size', 'size_divisor')):
        value = getattr(preprocessor, 'seg_pad_val', ignore_index)
        pads.append(('model.data_preprocessor.seg_pad_val', value))
    for number, (where, value) in enumerate(pads):
        if value == ignore_index:
            continue
        said = f'{where} is {value}, but the heads have ignore_index={ignore_index}'
        if 0 <= value < num_classes:
            said = f'{said}: padding is learned as class {value}.'
        elif number < transforms:
            raise ValueError(f'{said}. Set both to the same.')
        else:
            said = f'{said}: the loss fails at images that are padded.'
        print_log(said, 'current', logging.WARNING)


def check_metrics(evaluator: Any, ignore_index: int) -> None:
    """Report metrics of an evaluator, or of its config, that ignore another label."""
    if isinstance(evaluator, Evaluator):
        evaluator = evaluator.metrics
    elif isinstance(evaluator, dict):
        evaluator = evaluator.get('metrics', evaluator)
    metrics = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
    for metric in metrics:
        name, value = type(metric).__name__, getattr(metric, 'ignore_index', None)
        if isinstance(metric, dict):
            name = type_name(metric, METRICS)
            default = _DEFAULT if name == 'IoUMetric' else None
            value = metric.get('ignore_index', default)
        if value not in (None, ignore_index):
            print_log(
                f'{name} has ignore_index={value}, but the heads ignore '
                f'{ignore_index}: the metric counts pixels that they do not learn, or '
                'the other way round. Set both to the same.',
                'current',
                logging.WARNING,
            )


def _pad_values(config: Any) -> Iterator[tuple[str, int]]:
    """Return names and label padding values of a config's transforms."""
    for _, part in walk(config):
        if not isinstance(part, dict):
            continue
        name = type_name(part, TRANSFORMS)
        if name in _PAD or 'seg_pad_val' in part:
            yield f'{name}.seg_pad_val', part.get('seg_pad_val', _DEFAULT)
        elif name == 'Pad':
            value = part.get('pad_val')
            seg = value.get('seg', _DEFAULT) if isinstance(value, dict) else _DEFAULT
            yield "Pad.pad_val['seg']", seg
