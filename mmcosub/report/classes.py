"""Confusion matrices (classes, classes), labels in rows, and per-class metrics."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmcosub.analysis.confusion import count_confusions

from .figures import Panel

Classes = NDArray[np.int64]

_MOST_MISTAKES = 8


def share_right(label: Classes, prediction: Classes, ignored: int) -> float:
    """Fraction of correctly predicted labels; 1 without labels."""
    labelled = label != ignored
    count = int(labelled.sum())
    return float((label == prediction)[labelled].sum() / count) if count else 1.0


def confusion(
    label: Classes, prediction: Classes, classes: int, ignored: int
) -> NDArray[np.int64]:
    """Count predictions by label; ValueError if another class is predicted."""
    if (highest := int(prediction.max(initial=0))) >= classes:
        raise ValueError(
            f'The model predicts class {highest} (from 0), and the data have {classes} '
            'classes: set val_dataloader.dataset to data of the classes that it was '
            'trained on with --cfg-options, or leave out --run-config.'
        )
    tensors = torch.from_numpy(label), torch.from_numpy(prediction)
    return count_confusions(*tensors, classes, ignored).numpy()


def class_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU (C, ) of every class, nan where it does not occur."""
    hits = np.diag(matrix)
    return _fraction(hits, matrix.sum(0) + matrix.sum(1) - hits)


def class_recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall (C, ) of every class, nan where it does not occur."""
    return _fraction(np.diag(matrix), matrix.sum(1))


def _fraction(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def show_confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Return fractions of each label and the most frequent mistakes for the page.

    Mistakes are tuples of label, prediction and percentage.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    off = shares - np.diag(np.diag(shares))
    order = np.argsort(off, axis=None, kind='stable')[::-1][:_MOST_MISTAKES]
    pairs = [divmod(int(place), len(classes)) for place in order]
    mistakes = [
        (classes[i], classes[j], 100 * off[i, j]) for i, j in pairs if off[i, j]
    ]
    return dict(classes=classes, shares=shares, mistakes=mistakes)


def measure_classes(
    found: Mapping[int, Mapping[str, float]], title: str, about: str
) -> Panel | None:
    """Draw a percentage of each class by run, sorted by the mean of the runs."""
    if not found:
        return None
    names = np.array([*dict.fromkeys(itertools.chain(*found.values()))])
    table = np.array([[of.get(n, np.nan) for n in names] for of in found.values()])
    mean = np.ma.masked_invalid(table).mean(axis=0).filled(-1)  # absent classes last
    order = np.argsort(-mean, kind='stable')
    names, table = names[order], table[:, order]
    if len(found) > 1:
        about += ' Sorted by the mean of the runs.'
    return Panel(
        title=title,
        about=about,
        runs=[*found],
        unit='class',
        drawing=[*zip(names, table.T.tolist(), strict=True)],
        rows=[
            (name, [number_text(value) for value in column])
            for name, column in zip(names, table.T, strict=True)
        ],
    )


def number_text(value: float | None) -> str:
    """Format a number; a dash if it is unknown."""
    return '–' if value is None or value != value else f'{value:.2f}'
