"""Per-class metrics of several runs."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .figures import draw_dots
from .measures import class_iou, class_recall
from .predictions import Predicted
from .records import logged_classes
from .run import Run
from .summary import number_text


@dataclass
class ByClass:
    """Per-class metric, the best class first.

    Args:
        title (str): Name of the metric.
        source (str): Sentence about its source.
        svg (str): The figure.
        runs (list[int]): Numbers of the runs.
        rows (list[tuple]): Each class with its value in each run, '–' for none.
    """

    title: str
    source: str
    svg: str
    runs: list[int]
    rows: list[tuple[str, list[str]]]


def measure_classes(
    runs: Mapping[int, Run], predicted: Mapping[int, Predicted], segments: bool
) -> ByClass | None:
    """Return each class's IoU or, for classifiers, recall.

    Args:
        runs (Mapping[int, Run]): The runs, by number on the page.
        predicted (Mapping[int, Predicted]): Predictions of their checkpoints. Other
            runs use the last logged validation, if any.
        segments (bool): True for segmentation.

    Returns:
        ByClass, optional: Sorted by the mean of the runs; None if there is nothing.
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
    logged_only = 'As the last validation has logged it.'
    return ByClass(
        title='IoU by class' if segments else 'Recall by class',
        source='Of the checkpoints above.' if predicted else logged_only,
        svg=draw_dots(names, table, list(found), f'classes-{list(found)}'),
        runs=list(found),
        rows=[
            (name, [number_text(value) for value in column])
            for name, column in zip(names, table.T, strict=True)
        ],
    )
