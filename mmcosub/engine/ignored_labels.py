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
    pads = [(*pad, True) for pad in _pad_values(dataset)]
    if any(getattr(preprocessor, key, None) for key in ('size', 'size_divisor')):
        value = getattr(preprocessor, 'seg_pad_val', ignore_index)
        pads.append(('model.data_preprocessor.seg_pad_val', value, False))
    for where, value, always in pads:
        said = f'{where} is {value}, but the heads have ignore_index={ignore_index}'
        learned = 0 <= value < num_classes
        if value == ignore_index:
            continue
        if always and not learned:
            raise ValueError(f'{said}. Set both to the same.')
        effect = 'the loss fails at images that are padded'
        effect = f'padding is learned as class {value}' if learned else effect
        print_log(f'{said}: {effect}.', 'current', logging.WARNING)


def check_metrics(evaluator: Any, ignore_index: int) -> None:
    """Report metrics of an evaluator, or of its config, that ignore another label."""
    if isinstance(evaluator, Evaluator):
        metrics = evaluator.metrics
    else:
        metrics = [part for _, part in walk(evaluator) if type_name(part)]
    for metric in metrics:
        name, value = type(metric).__name__, getattr(metric, 'ignore_index', None)
        if isinstance(metric, dict):
            name = type_name(metric, METRICS)
            value = metric.get('ignore_index', {'IoUMetric': _DEFAULT}.get(name))
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
        name = type_name(part, TRANSFORMS)
        if name in _PAD or (name and 'seg_pad_val' in part):
            yield f'{name}.seg_pad_val', part.get('seg_pad_val', _DEFAULT)
        elif name == 'Pad':
            value = part.get('pad_val')
            seg = value.get('seg', _DEFAULT) if isinstance(value, dict) else _DEFAULT
            yield "Pad.pad_val['seg']", seg
