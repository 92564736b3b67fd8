"""Summary table: a row for each fact, a column for each run."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from .curves import main_metric
from .measures import class_iou
from .predictions import Predicted
from .run import Run


def summarize(
    runs: Sequence[Run], predicted: Sequence[Predicted | None]
) -> list[tuple[str, list[str]]]:
    """Return the facts of each run.

    Args:
        runs (Sequence[Run]): The runs.
        predicted (Sequence[Predicted | None]): Predictions of each checkpoint, or None.

    Returns:
        list[tuple]: Rows: a name and a value for each run.
    """
    metric = main_metric([run.records for run in runs])
    rows: list[tuple[str, list[str]]] = []
    if metric:
        of_runs = [(run, run.records.series(metric)) for run in runs]
        rows += [
            (f'{metric}, best', [_best(series, run) for run, series in of_runs]),
            (f'{metric}, last', [_last(series) for _, series in of_runs]),
        ]
    if any(predicted):
        rows += [
            ('evaluated', [_evaluated(p) for p in predicted]),
            ('of checkpoint', [_checkpoint(p) for p in predicted]),
        ]
    # From training only, as validations log another 'time'.
    times = [
        [record['time'] for _, record in run.records.train if 'time' in record]
        for run in runs
    ]
    rows += [
        ('method', [run.method for run in runs]),
        ('model', [run.model for run in runs]),
        ('trained for', [_length(run) for run in runs]),
        (
            'seconds an iteration',
            [f'{statistics.median(t):.3g}' if t else '–' for t in times],
        ),
        ('seed', [_known(run.facts['seed']) for run in runs]),
    ]
    return rows


def _evaluated(predicted: Predicted | None) -> str:
    """Return a checkpoint's main metric."""
    if predicted is None:
        return '–'
    if not predicted.predictions.segments:
        return f'accuracy {number_text(100 * float(predicted.right.mean()))}'
    return f'mIoU {number_text(100 * float(np.nanmean(class_iou(predicted.matrix))))}'


def _checkpoint(predicted: Predicted | None) -> str:
    """Return the checkpoint's name and the number of images."""
    if predicted is None:
        return '–'
    of = predicted.predictions
    number, total = len(of.indices), of.total
    images = f'{number} images' if number == total else f'{number} of {total} images'
    return f'{of.checkpoint.name}, {images}'


def _best(series: Sequence[tuple[float, float]], run: Run) -> str:
    known = [(value, at) for at, value in series if value == value]
    if not known:
        return '–'
    value, at = max(known)
    return f'{number_text(value)} at {_at(at, run)}'


def _last(series: Sequence[tuple[float, float]]) -> str:
    return number_text(series[-1][1]) if series else '–'


def _length(run: Run) -> str:
    return _at(run.records.iterations, run)


def _at(iterations: float, run: Run) -> str:
    """Return a number of iterations or, if the run counts so, epochs."""
    if run.records.epoch_length:
        return f'{iterations / run.records.epoch_length:.3g} epochs'
    return f'{iterations:,.0f} iterations'


def _known(value: Any) -> str:
    return '–' if value is None else str(value)


def number_text(value: float) -> str:
    """Format a number; a dash for unknown values.

    Args:
        value (float): The number, nan if unknown.
    """
    return '–' if value != value else f'{value:.2f}'
