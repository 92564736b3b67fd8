"""The tables of photographs."""

from collections import defaultdict
from functools import partial

import numpy as np
from curves import Shown
from intervals import (
    PROBABILITIES,
    Digits,
    cell,
    gain,
    mean_of,
    of_views,
    rows_of,
    scaled,
)
from records import Records
from settings import TEST_SEEDS, Run

SCORES: Digits = (('accuracy', 2), *PROBABILITIES)
TITLES = dict(accuracy='accuracy, %', nll='NLL', ece='calibration error, %')
CURVES: tuple[Shown, ...] = (
    ('accuracy', 'accuracy on validation images, %', (65, None)),
    ('nll', 'negative log-likelihood there', (None, 0.9)),
)
BASE = 'plain, no drop path'
NO_TEACHING = 'two views, drop path 0.05, no teaching'

# By how much cosub's and other schemes' settings differ from the default, in words.
SCHEMES = {
    'Cosub': 'cosub',
    'AugPath': 'AugPath',
    'AugDrop': 'AugDrop',
    'AugMask': 'AugMask',
    'StochasticDepth': 'stochastic depth',
}


def name_of(run: Run) -> str:
    """What a run is called in tables.

    Args:
        run (Run): The run, of any seed.
    """
    if not run.scheme:
        name = f'plain, drop path {run.rate:g}' if run.rate else 'plain, no drop path'
    elif run.scheme == dict(type='Cosub', weight=0.0):
        name = f'two views, drop path {run.rate:g}, no teaching'
    else:
        name = f'{SCHEMES[run.scheme["type"]]}, drop path {run.rate:g}'
        more = {k: v for k, v in run.scheme.items() if k != 'type'}
        if more != dict(weight=0.5):
            name += ''.join(f', {k} {v:g}' for k, v in more.items())
    start = Run('', 0)
    if run.repeats > 1:
        name += ', each image twice'
    for field in (
        'images',
        'iterations',
        'lr',
        'weight_decay',
        'loss',
        'width',
        'ramp',
    ):
        value = getattr(run, field)
        if value != getattr(start, field):
            name += f', {field.replace("_", " ")} {value}'
    return name


def grouped(records: Records, test: bool) -> dict[str, dict[int, dict]]:
    """Results by name and seed.

    Args:
        records (Records): All results.
        test (bool): Whether those of the comparison, else those that chose settings.
    """
    groups: dict[str, dict[int, dict]] = defaultdict(dict)
    for key, run in records.runs.items():
        if isinstance(run, Run) and (run.seed < TEST_SEEDS) == test:
            groups[name_of(run)][run.seed] = records.results[key]
    return dict(groups)


def tuning(groups: dict[str, dict[int, dict]]) -> str:
    """Validation scores of the runs that chose settings."""
    rows = [
        [
            name,
            len(results),
            *(
                cell([r['validation'][k] for r in results.values()], d)
                for k, d in SCORES
            ),
            f'{np.mean([r["step_ms"] for r in results.values()]):.1f}',
        ]
        for name, results in groups.items()
    ]
    columns = ('training', 'seeds', 'accuracy', 'NLL', 'calibration error', 'step, ms')
    return rows_of(columns, rows)


def comparison(
    groups: dict[str, dict[int, dict]], base: str, shown: Digits = SCORES
) -> str:
    """Scores on the test split, and their differences from those of one training.

    Args:
        groups (dict[str, dict[int, dict]]): Results by name and seed.
        base (str): Name of the one that all are compared with.
        shown (Sequence[tuple[str, int]]): Which scores. Defaults to all.
    """
    rows = []
    for name, results in groups.items():
        scores = [
            cell([r['test'][key] for r in results.values()], digits)
            for key, digits in shown
        ]
        over = [
            cell(gain(results, groups[base], lambda r, k=key: r['test'][k]), d, True)
            for key, d in shown
        ]
        if name == base:
            over = [''] * len(shown)
        rows.append([name, len(results), *scores, *over])
    titles = [TITLES[key] for key, _ in shown]
    changes = [title.removesuffix(', %') + ', difference' for title in titles]
    return rows_of(('training', 'seeds', *titles, *changes), rows)


def averages(groups: dict[str, dict[int, dict]]) -> str:
    """What an average of the weights (EMA) changes, on the test split."""
    rows = [
        [
            name,
            *(
                cell(
                    [r['averaged']['test'][k] - r['test'][k] for r in results.values()],
                    d,
                    True,
                )
                for k, d in SCORES
            ),
        ]
        for name, results in groups.items()
    ]
    return rows_of(('training', 'accuracy', 'NLL', 'calibration error'), rows)


def causes(groups: dict[str, dict[int, dict]]) -> str:
    """Training against validation, what the views did, and accuracy of submodels."""
    rows = []
    for name, results in groups.items():
        mean = partial(mean_of, results)
        depths = next(iter(results.values()))['depths']
        rows.append(
            [
                name,
                mean(lambda r: r['training']['accuracy'], 1),
                mean(lambda r: r['training']['nll'], 3),
                mean(lambda r: r['validation']['accuracy'], 1),
                mean(lambda r: r['validation']['nll'], 3),
                mean(lambda r: 100 * of_views(r, 'agreement'), 1),
                mean(lambda r: of_views(r, 'label_view0'), 3),
                *(mean(lambda r, k=k: r['depths'][k], 1) for k in depths),
            ]
        )
    columns = (
        'training',
        'accuracy on training images',
        'NLL there',
        'on validation images',
        'NLL there',
        'agreement of views, %',
        "a view's label loss",
        *(f'{k} blocks kept' for k in depths),
    )
    return rows_of(columns, rows)


def tables(records: Records) -> dict[str, str]:
    """All tables by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    choices = {'choices': tuning(grouped(records, test=False))}
    compared = grouped(records, test=True)
    if not {BASE, NO_TEACHING} <= {*compared}:
        return choices
    return choices | {
        'comparison': comparison(compared, BASE),
        'over two views': comparison(compared, NO_TEACHING),
        'averages': averages(compared),
        'scaled': comparison(scaled(compared), BASE, PROBABILITIES),
        'causes': causes(compared),
    }
