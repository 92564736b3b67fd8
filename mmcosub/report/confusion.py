"""Confusion matrix on the page.

Shapes: ``C`` classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .figures import draw_matrix

_MOST_CLASSES = 20
_MOST_MISTAKES = 8


@dataclass
class Confusion:
    """Confusion matrix.

    Args:
        classes (list[str]): Names of the classes.
        rows (list[list[float]]): Percentage of each label that is predicted as each
            class; empty if there are too many classes for a table.
        svg (str): The matrix as a figure; '' if there is a table.
        mistakes (list[tuple]): The most frequent mistakes: label, prediction, and
            percentage of the label.
    """

    classes: list[str]
    rows: list[list[float]]
    svg: str
    mistakes: list[tuple[str, str, float]]


def show_confusion(
    matrix: NDArray[np.int64], classes: Sequence[str], name: str
) -> Confusion:
    """Prepare a confusion matrix for the page.

    Args:
        matrix (ndarray): Counts of shape (C, C), a row for each label.
        classes (Sequence[str]): Names of the classes.
        name (str): Unique name of the matrix on the page.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    off = shares - np.diag(np.diag(shares))
    order = np.argsort(off, axis=None, kind='stable')[::-1][:_MOST_MISTAKES]
    pairs = [divmod(int(place), len(classes)) for place in order]
    few = len(classes) <= _MOST_CLASSES
    return Confusion(
        classes=list(classes),
        rows=(100 * shares).tolist() if few else [],
        svg='' if few else draw_matrix(shares, name),
        mistakes=[
            (classes[i], classes[j], 100 * float(off[i, j]))
            for i, j in pairs
            if off[i, j] > 0
        ],
    )
