#!/usr/bin/env python
"""The tables and pictures of docs/accuracy.md, from the committed records.

Gains are paired: of runs with the same seed, so of the same first weights, training
images and order. Intervals are of 95 %, by Student's t.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from curves import Shown, draw
from records import Records
from settings import TEST_SEEDS, Run

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / 'benchmarks' / 'results'
Value = Callable[[dict], float]
CURVES: tuple[Shown, ...] = (
    ('accuracy', 'accuracy on validation images, %', (65, None)),
    ('nll', 'negative log-likelihood there', (None, 0.9)),
)

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


def half_width(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of a mean.

    Args:
        values (Sequence[float]): Independent values.
    """
    from scipy import stats

    if len(values) < 2:
        return float('nan')
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return float(stats.t.ppf(0.975, len(values) - 1) * error)


def gain(results: dict[int, dict], base: dict[int, dict], value: Value) -> list[float]:
    """Differences of the seeds that both have.

    Args:
        results (dict[int, dict]): Results of a method by seed.
        base (dict[int, dict]): Those of the one that it is compared with.
        value (Callable): Number of a result.
    """
    both = sorted(results.keys() & base.keys())
    return [value(results[seed]) - value(base[seed]) for seed in both]


def cell(values: Sequence[float], digits: int, sign: bool = False) -> str:
    """A mean with its interval, bold where a difference's leaves out 0."""
    if not values:
        return ''
    mean, half = float(np.mean(values)), half_width(values)
    text = f'{mean:{"+" if sign else ""}.{digits}f}'
    if not np.isnan(half):
        text += f' ± {half:.{digits}f}'
        if sign and abs(mean) > half:
            text = f'**{text}**'
    return text


def rows_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ['---'] * len(columns), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


# ---- tables ----------------------------------------------------------------------

SCORES = (('accuracy', 2), ('nll', 3), ('ece', 2))


def comparison(groups: dict[str, dict[int, dict]], base: str) -> str:
    """Scores on the test split, and accuracy over the one compared with.

    Args:
        groups (dict[str, dict[int, dict]]): From :func:`grouped`.
        base (str): Name of the one that all are compared with.
    """
    rows = []
    for name, results in groups.items():
        scores = [
            cell([r['test'][key] for r in results.values()], digits)
            for key, digits in SCORES
        ]
        over = [
            cell(gain(results, groups[base], lambda r, k=key: r['test'][k]), d, True)
            for key, d in SCORES
        ]
        if name == base:
            over = ['', '', '']
        rows.append([name, len(results), *scores, *over])
    columns = (
        'training',
        'seeds',
        'accuracy, %',
        'NLL',
        'calibration error, %',
        'accuracy, gain',
        'NLL, difference',
        'calibration error, difference',
    )
    return rows_of(columns, rows)


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


def scaled(groups: Mapping[Any, dict[int, dict]], base: Any) -> str:
    """The test split after scaling the logits by a temperature.

    Of runs whose record has it; compared with another training, scaled too.

    Args:
        groups (Mapping[Any, dict[int, dict]]): Results by name, or parts of it, and
            seed.
        base (Any): Name of the one that all are compared with.
    """
    having = {
        name: {seed: r['scaled'] for seed, r in results.items() if 'scaled' in r}
        for name, results in groups.items()
    }
    rows = []
    for name, results in having.items():
        if not results:
            continue
        row: list = [*((name,) if isinstance(name, str) else name), len(results)]
        row.append(cell([r['temperature'] for r in results.values()], 2))
        for k, d in SCORES[1:]:
            row.append(cell([r['test'][k] for r in results.values()], d))
        for k, d in SCORES[1:]:
            found = gain(results, having[base], lambda r, k=k: r['test'][k])
            row.append('' if name == base else cell(found, d, True))
        rows.append(row)
    names = ('training',) if isinstance(base, str) else ('pretraining', 'segmentation')
    columns = (
        'seeds',
        'temperature',
        'NLL',
        'calibration error, %',
        'NLL, difference',
        'calibration error, difference',
    )
    return rows_of((*names, *columns), rows)


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


def mean_of(results: dict[int, dict], value: Value, digits: int) -> str:
    """Mean of a value over seeds, or nothing where some run lacks it."""
    values = [value(r) for r in results.values()]
    return '' if np.isnan(values).any() else f'{np.mean(values):.{digits}f}'


def of_views(result: dict, key: str) -> float:
    """What the views did at the end of a training; no number if there were none."""
    return result['curve'][-1]['views'].get(key, np.nan)


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--records', type=Path, default=RECORDS)
    parser.add_argument('--over', help='the training to compare with, as in the table')
    parser.add_argument('--plot', type=Path, help='file to draw')
    args = parser.parse_args()
    records = Records(args.records)
    choosing, groups = grouped(records, test=False), grouped(records, test=True)
    print('### Choosing settings, validation split\n')
    print(tuning(choosing))
    if groups:
        base = args.over or next(iter(groups))
        print(f'### Test split, against {base}\n')
        print(comparison(groups, base))
        print('### The average of weights (EMA) against the weights\n')
        print(averages(groups))
        print('### With a temperature fitted on the validation split\n')
        print(scaled(groups, base))
        print('### Why\n')
        print(causes(groups))
    if args.plot:
        draw(groups or choosing, CURVES, args.plot)


if __name__ == '__main__':
    main()
