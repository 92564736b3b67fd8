"""Comparable runs of one task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmcosub.config.model_settings import classifies
from mmcosub.hooks.setting_changes import Change, compare

from .by_class import ByClass, measure_classes
from .confusion import Confusion, show_confusion
from .curves import Curve, make_curves
from .gallery import Gallery, make_galleries
from .predictions import Predicted
from .run import Run
from .seeds import Seeds, compare_trainings
from .summary import summarize

Task = tuple[bool, int | None, str]
"""True for segmentation, the number of classes, and the dataset class."""


@dataclass
class Group:
    """Runs of one task that can be compared.

    Args:
        title (str): The task.
        runs (list[int]): Numbers of the runs on the page.
        names (list[str]): Names of the runs.
        summary (list[tuple]): Facts: a name, and a value for each run.
        seeds (Seeds, optional): Comparison over seeds, if a training has several.
        curves (list[Curve]): Logged curves.
        by_class (ByClass, optional): Per-class metric, if there is one.
        confusions (list[tuple]): Run and its confusion matrix.
        galleries (list[Gallery]): Images.
        differences (list[Change]): Settings that differ.
    """

    title: str
    runs: list[int]
    names: list[str]
    summary: list[tuple[str, list[str]]]
    seeds: Seeds | None
    curves: list[Curve]
    by_class: ByClass | None
    confusions: list[tuple[int, Confusion]]
    galleries: list[Gallery]
    differences: list[Change]


def task_of(run: Run) -> Task:
    """Return the task of a run; runs of the same task can be compared."""
    cfg = run.cfg
    head = cfg.model.get('decode_head') or cfg.model.get('head') or {}
    head = head[-1] if isinstance(head, list) else head
    loader = cfg.get('val_dataloader') or cfg.get('train_dataloader') or {}
    data: Any = loader.get('dataset') or {}
    return not classifies(cfg), head.get('num_classes'), str(data.get('type'))


def make_group(
    task: Task, runs: Mapping[int, Run], predicted: Mapping[int, Predicted]
) -> Group:
    """Prepare all text and figures of some runs.

    Args:
        task (Task): Their task.
        runs (Mapping[int, Run]): The runs, by number on the page.
        predicted (Mapping[int, Predicted]): Predictions of their checkpoints, by
            number; empty without predictions.
    """
    segments, count, _ = task
    kind = 'Segmentation' if segments else 'Classification'
    return Group(
        title=f'{kind}, {count} classes' if count else kind,
        runs=list(runs),
        names=[run.name for run in runs.values()],
        summary=summarize(list(runs.values()), [predicted.get(i) for i in runs]),
        seeds=compare_trainings(runs),
        curves=make_curves([run.records for run in runs.values()], list(runs)),
        by_class=measure_classes(runs, predicted, segments),
        confusions=[
            (i, show_confusion(of.matrix, of.predictions.classes, f'confusion-{i}'))
            for i, of in predicted.items()
        ],
        galleries=_galleries(runs, predicted),
        differences=compare([run.settings for run in runs.values()]),
    )


def _galleries(
    runs: Mapping[int, Run], predicted: Mapping[int, Predicted]
) -> list[Gallery]:
    """Make galleries, shared by runs that predict the same images."""
    of_images: dict[tuple, list] = {}
    for i, one in predicted.items():
        # Compare files: folds of a dataset may have equally many images.
        indices = tuple(one.predictions.indices)
        images = (one.predictions.total, indices, tuple(one.files))
        entry = (i, runs[i].name, one.predictions, one.right)
        of_images.setdefault(images, []).append(entry)
    return [gallery for same in of_images.values() for gallery in make_galleries(same)]
