"""Facts of runs as the page's table, and CSV files of all that was logged."""

import csv
import io
import itertools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcosub.files import atomic_write
from mmcosub.names import lower_is_better

from .curves import main_metric
from .records import Record, Records, logged_classes
from .run import Run

_COUNTERS = ('step', 'iter', 'epoch')


def facts_of(run: Run, metric: str | None) -> Record:
    """Return the facts of a run as plain numbers, None where unknown."""
    series = run.records.known(metric)
    sign = -1 if metric and lower_is_better(metric) else 1
    at, best = max(series, key=lambda p: (sign * p[1], p[0]), default=(None, None))
    # Validations log another 'time'.
    times = [record['time'] for _, record in run.records.train if 'time' in record]
    return {
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


def summarize(runs: Mapping[int, Run]) -> list[tuple[str, list[str]]]:
    """Return the facts of runs as text, those that are known of some."""
    metric = main_metric(*(run.records for run in runs.values()))
    facts = [facts_of(run, metric) for run in runs.values()]
    heads = {
        key: f'{metric}, {key}' if key in ('best', 'last') else key.replace('_', ' ')
        for key in facts[0]
        if key not in ('run', 'work_dir', 'metric')
    }
    rows = [(head, [_text(of[key]) for of in facts]) for key, head in heads.items()]
    return [(head, texts) for head, texts in rows if {*texts} != {'–'}]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}' if value < 1e4 else f'{value:,.0f}'
    return '–' if value is None else str(value)


def compare_classes(runs: Sequence[Records]) -> list[tuple[str, list[float | None]]]:
    """Return each class's IoU in percent by run, as logged last, the best first."""
    found = [logged_classes(records.starts) for records in runs]
    rows = [
        (name, [of_run.get(name) for of_run in found])
        for name in dict.fromkeys(itertools.chain(*found))
    ]

    def mean(row: tuple[str, list[float | None]]) -> float:
        known = [value for value in row[1] if value is not None and value == value]
        return statistics.mean(known) if known else -1

    return sorted(rows, key=mean, reverse=True)


def table_paths(page: Path) -> list[Path]:
    """Return the CSV files of a page: of the runs, and of their curves."""
    return [page.with_name(f'{page.stem}-{of}.csv') for of in ('runs', 'curves')]


def write_tables(page: Path, runs: Sequence[Run]) -> None:
    """Write the CSV files; an unknown value is an empty cell."""
    facts = [facts_of(run, main_metric(run.records)) for run in runs]
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
