"""Selection of the curves on a page, and their points."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from .figures import Line, Panel, draw_lines
from .records import Records

_POINTS = 160
"""Maximum number of points of a line; more are averaged."""
_LOG_SPAN = 3
"""Losses that span more than this factor are also drawn in log scale."""
_METRICS = ('mIoU', 'accuracy/top1', 'mDice', 'mAcc', 'aAcc', 'accuracy/top5')
_MOST_METRICS = 3
_PROBABILITY = {
    'NLL': 'Negative log-likelihood on validation data, in nats: lower is better.',
    'ECE': 'Calibration error on validation data, in percent: lower is better.',
    'Brier': 'Brier score on validation data, from 0 to 2: lower is better.',
}
_UNLABELLED = ('unlabelled_confidence', 'unlabelled_agreement', 'unlabelled_used')
_STYLES = ('solid', 'dashed', 'dotted', 'dash-dotted')


def main_metric(*runs: Records) -> str | None:
    """Return the metric to compare runs by: mIoU, or what validation measured."""
    return next(iter(_metrics(runs)), None)


def _metrics(runs: Sequence[Records]) -> list[str]:
    """Return the measured metrics, the main ones first."""
    found = list(dict.fromkeys(m for records in runs for m in records.metrics()))
    # Metrics may have a `prefix`.
    known = [m for name in _METRICS for m in found if f'/{m}'.endswith(f'/{name}')]
    return list(dict.fromkeys([*known, *found]))


def make_curves(runs: Mapping[int, Records]) -> list[Panel]:
    """Return a figure for each quantity that runs, by number on the page, logged."""
    metrics = _metrics([*runs.values()])
    meaning = {m: _PROBABILITY.get(m.rpartition('/')[2]) for m in metrics}
    shown = [m for m in metrics if not meaning[m]][:_MOST_METRICS]
    keys = {key for records in runs.values() for key in records.train_keys()}
    views = [key for key in keys if re.fullmatch(r'label_view\d+', key)]
    views.sort(key=lambda key: int(key.removeprefix('label_view')))
    styles = [f'view {i} {style}' for i, style in enumerate(_STYLES[: len(views)])]
    figures = [
        *((m, 'Over the validation data, in percent.', [m]) for m in shown),
        *((m, about, [m]) for m, about in meaning.items() if about),
        ('Loss', 'All of it, that of auxiliary heads and co-training too.', ['loss']),
        ('Label loss of each view',
         f'Of the main head. {", ".join(styles).capitalize()}.', views),
        ('Co-training loss', 'Mutual distillation of the views, weighted.',
         ['co_training']),
        ('Agreement of views', 'Fraction of labels on which all views agree.',
         ['agreement']),
        ('Loss on unlabelled images', 'Against the teacher\'s predictions, weighted.',
         ['loss_unlabelled']),
        ('Predictions on unlabelled images', 'Confidence of the teacher, fraction of '
         'pixels on which students agree with it, and fraction above the threshold.',
         [key for key in _UNLABELLED if key in keys]),
        ('Learning rate', 'Of the first group of parameters.', ['lr']),
        ('Gradient norm', 'Before clipping.', ['grad_norm']),
        ('Memory', 'Peak of tensors on the GPU since the record before, in MiB.',
         ['memory']),
    ]  # fmt: skip
    return [
        _curve(lines, title, about, marked=title in metrics)
        for title, about, names in figures
        if (lines := _lines(runs, names))
    ]


def _lines(runs: Mapping[int, Records], names: Sequence[str]) -> list[Line]:
    """Return the lines of logged values, of several for each run."""
    return [
        Line(number, thinned(series), variant)
        for number, records in runs.items()
        for variant, name in enumerate(names)
        if (series := records.series(name))
    ]


def thinned(
    points: Sequence[tuple[float, float]], number: int = _POINTS
) -> list[tuple[float, float]]:
    """Average a line's points over stretches if there are more than so many."""
    if len(points) <= number:
        return list(points)
    parts = np.array_split(np.array(points, dtype=float), number)
    return [(float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts)]


def _curve(lines: Sequence[Line], title: str, about: str, marked: bool) -> Panel:
    """Draw lines, with the last values of the first ones."""
    first = [line for line in lines if line.variant == 0]
    if any(len(line.points) == _POINTS for line in lines):
        about += f' Averaged to {_POINTS} points.'
    values = [y for line in lines for _, y in line.points if y == y] or [0]
    log = 'loss' in title.lower() or title == 'Gradient norm'
    log = log and max(values) > _LOG_SPAN * min(values) > 0
    return Panel(
        title=title,
        about=about,
        runs=[line.run for line in first],
        ends=[f'{line.points[-1][1]:.4g}' for line in first],
        drawing=draw_lines(lines, marked),
        log_drawing=draw_lines(lines, marked, log) if log else None,
    )
