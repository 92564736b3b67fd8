"""The tables of photographs."""

from functools import partial

import numpy as np
from choices import COSUB, PLAIN
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
from photograph_results import Results, compared, grouped, name_of, runs_of
from photograph_stages import (
    FEW,
    LONGER,
    REGIMES,
    chosen,
    fewer_pairs,
    learning_rates,
    main,
    rates,
    variants,
    weight_decays,
)
from records import Records

SCORES: Digits = (('accuracy', 2), *PROBABILITIES)
TITLES = dict(accuracy='accuracy, %', nll='NLL', ece='calibration error, %')
CURVES: tuple[Shown, ...] = (
    ('accuracy', 'accuracy on validation images, %', (65, None)),
    ('nll', 'negative log-likelihood there', (None, 0.9)),
)


def tuning(groups: Results) -> str:
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
    groups: Results, base: str, shown: Digits = SCORES, split: str = 'test'
) -> str:
    """Scores, and their differences from those of one training.

    Args:
        groups (Results): Results by name and seed.
        base (str): Name of the one that all are compared with.
        shown (Sequence[tuple[str, int]]): Which scores. Defaults to all.
        split (str): Of which split. Defaults to 'test'.
    """
    rows = []
    for name, results in groups.items():
        scores = [
            cell([r[split][key] for r in results.values()], digits)
            for key, digits in shown
        ]
        over = [
            cell(gain(results, groups[base], lambda r, k=key: r[split][k]), d, True)
            for key, d in shown
        ]
        if name == base:
            over = [''] * len(shown)
        rows.append([name, len(results), *scores, *over])
    titles = [TITLES[key] for key, _ in shown]
    changes = [title.removesuffix(', %') + ', difference' for title in titles]
    return rows_of(('training', 'seeds', *titles, *changes), rows)


def averages(groups: Results) -> str:
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


def causes(groups: Results) -> str:
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
    tuned = grouped(records, runs_of(records, learning_rates, rates))
    found = {'choices': tuning(tuned)}
    for regime in REGIMES:
        found |= _of_regime(records, regime)
    for name, stage, scheme in (
        ('variants', variants, COSUB),
        ('weight decays', weight_decays, PLAIN),
    ):
        results = grouped(records, runs_of(records, stage))
        if results:
            base = name_of(chosen(records, scheme))
            found[name] = comparison(results, base, split='validation')
    runs = runs_of(records, partial(main, regime=LONGER), fewer_pairs)
    taught = [run for run in runs if run.scheme.get('weight')]
    results = grouped(records, taught, LONGER)
    if len(results) > 1:
        base = name_of(chosen(records, COSUB, LONGER), LONGER)
        found['fewer pairs'] = comparison(results, base)
    return found


def _of_regime(records: Records, regime: str) -> dict[str, str]:
    results = compared(records, regime)
    if not results:
        return {}
    plain, cosub = (
        name_of(chosen(records, scheme, regime), regime) for scheme in (PLAIN, COSUB)
    )
    found = {'averages': averages(results), 'causes': causes(results)}
    for title, base in (('over plain', plain), ('over cosub', cosub)):
        if base in results:
            found[title] = comparison(results, base)
            found[f'scaled, {title}'] = comparison(scaled(results), base, PROBABILITIES)
    if regime == FEW:
        return found
    stage = partial(rates, regime=regime)
    found['choices'] = tuning(grouped(records, runs_of(records, stage), regime))
    return {f'{regime}, {name}': table for name, table in found.items()}
