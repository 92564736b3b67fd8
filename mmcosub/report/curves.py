"""Selection of the curves on a page, and their points."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcosub.datasets.viewing import evenly_spread

from .figures import Line, draw_lines
from .records import Records

_POINTS = 160
"""Maximum number of points of a line; more are averaged."""
_ROWS = 8
_METRICS = ('mIoU', 'accuracy/top1', 'mDice', 'mAcc', 'aAcc', 'accuracy/top5')
_MOST_METRICS = 3
_PROBABILITY = {
    'NLL': 'Negative log-likelihood on validation data, in nats: lower is better.',
    'ECE': 'Calibration error on validation data, in percent: lower is better.',
    'Brier': 'Brier score on validation data, from 0 to 2: lower is better.',
}
_VIEW = re.compile(r'label_view(\d+)')


@dataclass
class Curve:
    """Figure of a page with a text summary.

    Args:
        title (str): Title.
        about (str): Sentence about the figure.
        svg (str): The figure.
        runs (list[int]): Numbers of the shown runs.
        ends (list[str]): Last value of each run.
        unit (str): Unit of the horizontal axis.
        rows (list[tuple]): Some of the values: position, and value of each run, '' if
            it has none there.
    """

    title: str
    about: str
    svg: str
    runs: list[int]
    ends: list[str]
    unit: str
    rows: list[tuple[str, list[str]]]


def main_metric(runs: Sequence[Records]) -> str | None:
    """Return the metric to compare runs by: mIoU, or what validation measured.

    Args:
        runs (Sequence[Records]): Logged values.
    """
    found = _metrics(runs)
    return found[0] if found else None


def make_curves(runs: Sequence[Records], numbers: Sequence[int]) -> list[Curve]:
    """Return the curves of some runs, one figure for each logged quantity.

    Args:
        runs (Sequence[Records]): Logged values.
        numbers (Sequence[int]): Their numbers on the page.
    """
    found = _metrics(runs)
    figures = [
        (metric, 'Over the validation data, in percent.', [metric], True)
        for metric in [m for m in found if _name(m) not in _PROBABILITY][:_MOST_METRICS]
    ]
    figures += [
        (metric, _PROBABILITY[_name(metric)], [metric], True)
        for metric in found
        if _name(metric) in _PROBABILITY
    ]
    keys = {key for records in runs for key in records.train_keys()}
    views = sorted((k for k in keys if _VIEW.fullmatch(k)), key=_view_number)
    figures += [
        ('Loss', 'All of it, that of auxiliary heads and co-training too.',
         ['loss'], False),
        ('Label loss of each view', f'Of the main head. {_styles(len(views))}',
         views, False),
        ('Co-training loss', 'Mutual distillation of the views, weighted.',
         ['co_training'], False),
        ('Agreement of views', 'Fraction of labels on which all views agree.',
         ['agreement'], False),
        ('Loss on unlabelled images', 'Against the teacher\'s predictions, weighted.',
         ['loss_unlabelled'], False),
        ('Predictions on unlabelled images', 'Confidence of the teacher, fraction of '
         'pixels on which students agree with it, and fraction above the threshold.',
         [k for k in ('unlabelled_confidence', 'unlabelled_agreement',
                      'unlabelled_used') if k in keys], False),
        ('Learning rate', 'Of the first group of parameters.', ['lr'], False),
    ]  # fmt: skip
    by_epoch = all(records.epoch_length for records in runs)
    curves = []
    for title, about, names, marked in figures:
        if curve := _curve(runs, numbers, names, by_epoch, title, about, marked):
            curves.append(curve)
    return curves


def _name(metric: str) -> str:
    """A metric's name without its prefix."""
    return metric.rpartition('/')[2]


def _metrics(runs: Sequence[Records]) -> list[str]:
    """Return the measured metrics, the main ones first."""
    found = list(dict.fromkeys(m for records in runs for m in records.metrics()))
    # Metrics may have a `prefix`.
    known = [m for name in _METRICS for m in found if f'/{m}'.endswith(f'/{name}')]
    return known + [metric for metric in found if metric not in known]


def _curve(
    runs: Sequence[Records],
    numbers: Sequence[int],
    names: Sequence[str],
    by_epoch: bool,
    title: str,
    about: str,
    marked: bool,
) -> Curve | None:
    lines: list[Line] = []
    for records, number in zip(runs, numbers, strict=True):
        scale = records.epoch_length if by_epoch and records.epoch_length else 1
        for variant, name in enumerate(names):
            series = [(at / scale, value) for at, value in records.series(name)]
            if series:
                lines.append(Line(number, thinned(series), variant))
    if not lines:
        return None
    first = [line for line in lines if line.variant == 0]
    if any(len(line.points) == _POINTS for line in lines):
        about += f' Averaged to {_POINTS} points.'
    unit = 'epochs' if by_epoch else 'iterations'
    key = f'{title}-{"-".join(map(str, numbers))}'
    return Curve(
        title=title,
        about=about,
        svg=draw_lines(lines, unit, key, marked),
        runs=[line.run for line in first],
        ends=[f'{line.points[-1][1]:.4g}' for line in first],
        unit=unit,
        rows=_rows(first),
    )


def thinned(
    points: Sequence[tuple[float, float]], number: int = _POINTS
) -> list[tuple[float, float]]:
    """Average a line's points over stretches if there are too many.

    Args:
        points (Sequence[tuple]): The points.
        number (int): Maximum number. Defaults to 160.
    """
    if len(points) <= number:
        return list(points)
    parts = np.array_split(np.array(points, dtype=float), number)
    return [(float(x), float(y)) for x, y in (part.mean(axis=0) for part in parts)]


def _rows(lines: Sequence[Line]) -> list[tuple[str, list[str]]]:
    """Return some of the values as a table."""
    longest = max(lines, key=lambda line: len(line.points)).points
    number = min(_ROWS, len(longest))
    picked = evenly_spread(len(longest), number)
    rows = []
    for at in (longest[i][0] for i in picked):
        cells = []
        for line in lines:
            near = min(line.points, key=lambda point: abs(point[0] - at))
            close = abs(near[0] - at) <= 0.02 * max(longest[-1][0], 1)
            cells.append(f'{near[1]:.4g}' if close else '')
        rows.append((f'{at:.6g}', cells))
    return rows


def _styles(views: int) -> str:
    styles = ('solid', 'dashed', 'dotted', 'dash-dotted')
    said = [f'view {i} {style}' for i, style in enumerate(styles[:views])]
    return ', '.join(said).capitalize() + '.'


def _view_number(key: str) -> int:
    found = _VIEW.fullmatch(key)
    assert found is not None
    return int(found[1])
