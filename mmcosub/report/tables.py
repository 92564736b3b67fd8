"""Facts of runs as the page's table, and CSV files of all that was logged."""

import csv
import io
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmcosub.files import atomic_write

from .classes import number_text
from .curves import main_metric
from .predictions import Predictions
from .records import Record
from .run import Run

_COUNTERS = ('step', 'iter', 'epoch')


def facts_of(run: Run, predicted: Predictions | None, metric: str | None) -> Record:
    """Return the facts of a run as plain numbers, None where unknown."""
    series = run.records.known(metric)
    best, at = max(((value, at) for at, value in series), default=(None, None))
    # Validations log another 'time'.
    times = [record['time'] for _, record in run.records.train if 'time' in record]
    facts = {
        'run': run.name,
        'work_dir': run.work_dir,
        'metric': metric,
        'best': best,
        'best_iteration': at,
        'last': series[-1][1] if series else None,
        'method': run.method,
        'model': run.model,
        'iterations': run.records.iterations,
        'iterations_per_epoch': run.records.epoch_length,
        'seconds_per_iteration': statistics.median(times) if times else None,
        'seed': run.facts['seed'],
    }
    if predicted:
        accuracy, iou = 100 * predicted.right.mean(), [*predicted.by_class().values()]
        facts |= {
            'evaluated_metric': 'mIoU' if predicted.segments else 'accuracy',
            'evaluated': np.nanmean(iou) if predicted.segments else accuracy,
            'checkpoint': predicted.checkpoint.name,
            'images': len(predicted.indices),
        }
    return facts


def summarize(
    runs: Mapping[int, Run], predicted: Mapping[int, Predictions]
) -> list[tuple[str, list[str]]]:
    """Return the facts of runs and of their evaluated checkpoints as text."""
    metric = main_metric(*(run.records for run in runs.values()))
    shown = []
    for i, run in runs.items():
        facts = facts_of(run, predicted.get(i), metric)
        length = run.records.epoch_length
        best, time, seed = (facts[k] for k in ('best', 'seconds_per_iteration', 'seed'))
        of_one = {f'{metric}, best': '–', f'{metric}, last': number_text(facts['last'])}
        if best is not None:
            at = _duration(facts['best_iteration'], length)
            of_one[f'{metric}, best'] = f'{number_text(best)} at {at}'
        if i in predicted:
            number, total = facts['images'], predicted[i].total
            images = f'{number}' if number == total else f'{number} of {total}'
            score = number_text(facts['evaluated'])
            of_one['evaluated'] = f'{facts["evaluated_metric"]} {score}'
            of_one['of checkpoint'] = f'{facts["checkpoint"]}, {images} images'
        of_one |= {
            'method': run.method,
            'model': run.model,
            'trained for': _duration(run.records.iterations, length),
            'seconds an iteration': '–' if time is None else f'{time:.3g}',
            'seed': '–' if seed is None else str(seed),
        }
        shown.append(of_one)
    heads = max(shown, key=len)
    rows = [(head, [of_one.get(head, '–') for of_one in shown]) for head in heads]
    return [(head, texts) for head, texts in rows if {*texts} != {'–'}]


def _duration(iterations: float, epoch_length: float | None) -> str:
    """Return a number of iterations or, if the run counts so, epochs."""
    if epoch_length:
        return f'{iterations / epoch_length:.3g} epochs'
    return f'{iterations:,.0f} iterations'


def table_paths(page: Path) -> list[Path]:
    """Return the CSV files of a page: of the runs, and of their curves."""
    return [page.with_name(f'{page.stem}-{of}.csv') for of in ('runs', 'curves')]


def write_tables(
    page: Path, runs: Sequence[Run], predicted: Mapping[int, Predictions]
) -> None:
    """Write the CSV files; an unknown value is an empty cell."""
    facts = [
        facts_of(run, predicted.get(i), main_metric(run.records))
        for i, run in enumerate(runs)
    ]
    logged = [row for run in runs for row in _logged(run)]
    for path, rows in zip(table_paths(page), (facts, logged), strict=True):
        text = io.StringIO(newline='')
        columns = dict.fromkeys(key for row in rows for key in row)
        table = csv.DictWriter(text, [*columns], lineterminator='\n')
        table.writeheader()
        table.writerows(rows)
        with atomic_write(path) as partial:
            partial.write_text(text.getvalue(), encoding='utf-8')


def _logged(run: Run) -> Iterator[Record]:
    """Yield the logged numbers of each iteration, of training and validation apart."""
    for part in ('train', 'val'):
        for at, record in getattr(run.records, part):
            values = {
                key: value
                for key, value in record.items()
                if key not in _COUNTERS and isinstance(value, int | float)
            }
            yield {'run': run.name, 'part': part, 'iteration': at, **values}
