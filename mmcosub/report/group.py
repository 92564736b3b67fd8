"""Comparable runs of one task, and the table of their facts."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmcosub.config.model_settings import classifies
from mmcosub.config.setting_changes import compare

from .classes import class_iou, measure_classes, number_text, show_confusion
from .curves import main_metric, make_curves
from .gallery import Gallery, make_galleries
from .predictions import Predicted
from .run import Run
from .seeds import compare_trainings

Task = tuple[bool, int | None, str]
"""True for segmentation, the number of classes, and the dataset class."""


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
) -> dict[str, Any]:
    """Prepare all text and figures of runs and their predictions for the template.

    ``confusions`` are pairs of a run and its matrix.
    """
    segments, count, _ = task
    kind = 'Segmentation' if segments else 'Classification'
    return dict(
        title=f'{kind}, {count} classes' if count else kind,
        runs=list(runs),
        names=[run.name for run in runs.values()],
        summary=summarize(list(runs.values()), [predicted.get(i) for i in runs]),
        seeds=compare_trainings(runs),
        curves=make_curves([run.records for run in runs.values()], list(runs)),
        by_class=measure_classes(runs, predicted, segments),
        confusions=[
            (i, show_confusion(of.matrix, of.predictions.classes))
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


def summarize(
    runs: Sequence[Run], predicted: Sequence[Predicted | None]
) -> list[tuple[str, list[str]]]:
    """Return the facts of runs and of their evaluated checkpoints, if any."""
    rows: list[tuple[str, list[str]]] = []
    if metric := main_metric([run.records for run in runs]):
        rows += [
            (f'{metric}, best', [_best(run, metric) for run in runs]),
            (f'{metric}, last', [_last(run, metric) for run in runs]),
        ]
    if any(predicted):
        rows += [
            ('evaluated', [_evaluated(p) if p else '–' for p in predicted]),
            ('of checkpoint', [_checkpoint(p) if p else '–' for p in predicted]),
        ]
    seeds = [run.facts['seed'] for run in runs]
    times = [seconds(run) for run in runs]
    shown = ['–' if time is None else f'{time:.3g}' for time in times]
    return [
        *rows,
        ('method', [run.method for run in runs]),
        ('model', [run.model for run in runs]),
        ('trained for', [_at(run.records.iterations, run) for run in runs]),
        ('seconds an iteration', shown),
        ('seed', ['–' if seed is None else str(seed) for seed in seeds]),
    ]


def best(series: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Return the highest known value, and its iteration; None without one."""
    return max(((value, at) for at, value in series if value == value), default=None)


def _best(run: Run, metric: str) -> str:
    found = best(run.records.series(metric))
    return f'{number_text(found[0])} at {_at(found[1], run)}' if found else '–'


def _last(run: Run, metric: str) -> str:
    series = run.records.series(metric)
    return number_text(series[-1][1]) if series else '–'


def score(predicted: Predicted) -> tuple[str, float]:
    """Return the name and value of a checkpoint's main metric, in percent."""
    if not predicted.predictions.segments:
        return 'accuracy', 100 * float(predicted.right.mean())
    return 'mIoU', 100 * float(np.nanmean(class_iou(predicted.matrix)))


def _evaluated(predicted: Predicted) -> str:
    name, value = score(predicted)
    return f'{name} {number_text(value)}'


def _checkpoint(predicted: Predicted) -> str:
    """Return the checkpoint's name and the number of images."""
    of = predicted.predictions
    number, total = len(of.indices), of.total
    images = f'{number} images' if number == total else f'{number} of {total} images'
    return f'{of.checkpoint.name}, {images}'


def seconds(run: Run) -> float | None:
    """Return the median time of an iteration of training."""
    # Validations log another 'time'.
    times = [record['time'] for _, record in run.records.train if 'time' in record]
    return statistics.median(times) if times else None


def _at(iterations: float, run: Run) -> str:
    """Return a number of iterations or, if the run counts so, epochs."""
    if run.records.epoch_length:
        return f'{iterations / run.records.epoch_length:.3g} epochs'
    return f'{iterations:,.0f} iterations'
