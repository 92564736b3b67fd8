"""CSV files beside the page: the runs, and everything that they logged."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcosub.files import atomic_write

from .curves import main_metric
from .group import best, score, seconds
from .predictions import Predicted
from .records import Record
from .run import Run

_COUNTERS = ('step', 'iter', 'epoch')


def table_paths(page: Path) -> list[Path]:
    """Return the CSV files of a page: of the runs, and of their curves."""
    return [page.with_name(f'{page.stem}-{of}.csv') for of in ('runs', 'curves')]


def write_tables(
    page: Path, runs: Sequence[Run], predicted: Mapping[int, Predicted]
) -> None:
    """Write the CSV files; an unknown value is an empty cell."""
    of_runs, of_curves = table_paths(page)
    _write(of_runs, [_facts(run, predicted.get(i)) for i, run in enumerate(runs)])
    _write(of_curves, [row for run in runs for row in _logged(run)])


def _facts(run: Run, predicted: Predicted | None) -> Record:
    """Return the facts of the page's table as plain numbers."""
    records = run.records
    metric = main_metric([records])
    series = records.series(metric) if metric else []
    value, at = best(series) or (None, None)
    facts = {
        'run': run.name,
        'work_dir': run.work_dir,
        'metric': metric,
        'best': value,
        'best_iteration': at,
        'last': series[-1][1] if series else None,
        'method': run.method,
        'model': run.model,
        'iterations': records.iterations,
        'iterations_per_epoch': records.epoch_length,
        'seconds_per_iteration': seconds(run),
        'seed': run.facts['seed'],
    }
    if predicted:
        of = predicted.predictions
        facts['evaluated_metric'], facts['evaluated'] = score(predicted)
        facts |= {'checkpoint': of.checkpoint.name, 'images': len(of.indices)}
    return facts


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


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows; the columns are all of their keys."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO(newline='')
    table = csv.DictWriter(text, columns, lineterminator='\n')
    table.writeheader()
    table.writerows(rows)
    with atomic_write(path) as partial:
        partial.write_text(text.getvalue(), encoding='utf-8')
