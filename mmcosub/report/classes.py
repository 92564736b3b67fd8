"""Confusion matrices (classes, classes), labels in rows, and per-class metrics."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .figures import Panel, draw_dots
from .gallery import share_uri
from .predictions import Predicted
from .records import logged_classes
from .run import Run

_MOST_CLASSES = 20
_MOST_MISTAKES = 8
_ACCENT = (59, 130, 246)  # visible in light and dark themes


@dataclass
class Confusion:
    """Percentages of each label and the most frequent mistakes: label, prediction, %.

    ``rows`` is empty if there are too many classes for a table; then ``uri`` is a
    picture.
    """

    classes: list[str]
    rows: list[list[float]]
    uri: str
    mistakes: list[tuple[str, str, float]]


def show_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> Confusion:
    """Prepare a confusion matrix for the page."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    off = shares - np.diag(np.diag(shares))
    order = np.argsort(off, axis=None, kind='stable')[::-1][:_MOST_MISTAKES]
    pairs = [divmod(int(place), len(classes)) for place in order]
    few = len(classes) <= _MOST_CLASSES
    return Confusion(
        classes=list(classes),
        rows=(100 * shares).tolist() if few else [],
        uri='' if few else share_uri(np.sqrt(shares), _ACCENT),
        mistakes=[
            (classes[i], classes[j], 100 * float(off[i, j]))
            for i, j in pairs
            if off[i, j] > 0
        ],
    )


def class_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU (C, ) of every class, nan where it does not occur."""
    hits = np.diag(matrix)
    return _fraction(hits, matrix.sum(0) + matrix.sum(1) - hits)


def class_recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall (C, ) of every class, nan where it does not occur."""
    return _fraction(np.diag(matrix), matrix.sum(1))


def _fraction(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def measure_classes(
    runs: Mapping[int, Run], predicted: Mapping[int, Predicted], segments: bool
) -> Panel | None:
    """Return each class's IoU or recall, sorted by the mean of the runs, if known.

    Runs without predictions use the last logged validation.
    """
    found: dict[int, dict[str, float]] = {}
    for i, run in runs.items():
        if i in predicted:
            measure = class_iou if segments else class_recall
            values = 100 * measure(predicted[i].matrix)
            names = predicted[i].predictions.classes
            found[i] = dict(zip(names, values.tolist(), strict=True))
        elif segments and (logged := logged_classes(run.records.starts)):
            found[i] = logged
    if not found:
        return None
    names = list(dict.fromkeys(itertools.chain(*found.values())))
    table = np.array([[of.get(n, np.nan) for n in names] for of in found.values()])
    mean = np.ma.masked_invalid(table).mean(axis=0).filled(-1)  # absent classes last
    order = np.argsort(-mean, kind='stable')
    names = [names[k] for k in order]
    table = table[:, order]
    about = 'Of the checkpoints above.'
    if not predicted:
        about = 'As the last validation has logged it.'
    if len(found) > 1:
        about += ' Sorted by the mean of the runs.'
    return Panel(
        title='IoU by class' if segments else 'Recall by class',
        about=about,
        svg=draw_dots(names, table, list(found), f'classes-{list(found)}'),
        runs=list(found),
        unit='class',
        rows=[
            (name, [number_text(value) for value in column])
            for name, column in zip(names, table.T, strict=True)
        ],
    )


def number_text(value: float) -> str:
    """Format a number; a dash for nan."""
    return '–' if value != value else f'{value:.2f}'
