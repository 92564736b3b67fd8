"""Counts of classes in label maps, and the fraction of ignored pixels.

Shapes: ``C`` classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_NAMED = 8


def count_labels(
    labels: NDArray, num_classes: int, ignore_index: int
) -> NDArray[np.int64]:
    """Count the pixels of each class and, last, the ignored ones.

    Args:
        labels (ndarray): Label map of any shape.
        num_classes (int): Number of classes C.
        ignore_index (int): Label of ignored pixels.

    Returns:
        ndarray: Of shape (C + 1,).
    """
    ignored = labels == ignore_index
    known = labels[~ignored & (labels >= 0) & (labels < num_classes)]
    counts = np.bincount(known.astype(np.int64).ravel(), minlength=num_classes)
    return np.append(counts, ignored.sum())


def describe_labels(
    counts: NDArray[np.int64], names: Sequence[str], ignore_index: int
) -> str:
    """Describe which classes never occur and what fraction is ignored.

    Args:
        counts (ndarray): Of :func:`count_labels`, summed over label maps.
        names (Sequence[str]): Names of the C classes.
        ignore_index (int): Label of ignored pixels.
    """
    missing = [
        name
        for number, name in enumerate(names)
        if not counts[number] and number != ignore_index
    ]
    more = ', ...' if len(missing) > _NAMED else ''
    found = 'every class occurs'
    if missing:
        found = (
            f'{len(missing)} of {len(names)} classes never occur '
            f'({", ".join(missing[:_NAMED])}{more})'
        )
    return f'{found}; {counts[-1] / max(counts.sum(), 1):.1%} of pixels are ignored'


def few_classes(counts: NDArray[np.int64]) -> bool:
    """Return True if a task of several classes has labels of at most one.

    Args:
        counts (ndarray): Of :func:`count_labels`, summed over label maps.
    """
    return len(counts) > 2 and int(np.count_nonzero(counts[:-1])) < 2


def explain_few_classes(
    counts: NDArray[np.int64], ignore_index: int, reduce_zero_label: bool
) -> str:
    """Explain labels of at most one class, with the likely remedy.

    Args:
        counts (ndarray): Of :func:`count_labels`, summed over label maps.
        ignore_index (int): Label of ignored pixels.
        reduce_zero_label (bool): The dataset's setting.
    """
    (present,) = np.nonzero(counts[:-1])
    ignored = counts[-1] / max(counts.sum(), 1)
    if len(present) == 0:
        said = f'have nothing but {ignore_index}, which is ignored'
    elif ignored:
        said = (
            f'have class {present[0]} only, of {len(counts) - 1}, and {ignore_index}, '
            f'which is ignored ({ignored:.1%} of pixels)'
        )
    else:
        said = f'have class {present[0]} only, of {len(counts) - 1}'
    if reduce_zero_label:
        remedy = (
            'reduce_zero_label=True ignores 0 and takes 1 from every other label: if 0 '
            'is a class, set reduce_zero_label=False.'
        )
    elif ignored:
        remedy = (
            f'If {ignore_index} stands for a class, as in masks of 0 and 255, save the '
            'masks again with the numbers of the classes: 0, 1, ..., as '
            '`mmcosub init` does.'
        )
    else:
        remedy = 'Check data_prefix.seg_map_path and the files in it.'
    return f'{said}. {remedy}'
