"""Means and differences of trainings over seeds, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .curves import main_metric
from .run import Run

# Settings that may differ between seeds.
_OF_A_SEED = ('randomness.seed', 'scheme.seed', 'resume', 'log_level')


class Mean(NamedTuple):
    """Mean, or a difference of means, which is certain if its interval excludes 0."""

    text: str
    certain: bool = False


class Training(NamedTuple):
    """Runs that differ in their seed alone, with a mean for each column."""

    method: str
    runs: tuple[int, ...]
    means: tuple[Mean, ...]


class Seeds(NamedTuple):
    """Trainings by first run, and runs left out as other seeds were trained longer."""

    columns: tuple[str, ...]
    trainings: list[Training]
    unfinished: list[int]


def compare_trainings(runs: Mapping[int, Run]) -> Seeds | None:
    """Compare trainings of one task over their seeds; None if none has several."""
    metric = main_metric([run.records for run in runs.values()])
    if metric is None:
        return None
    series: dict[int, list[tuple[float, float]]] = {}
    alike: dict[tuple, list[int]] = {}
    for i, run in runs.items():
        values = run.records.series(metric)
        series[i] = [(at, value) for at, value in values if value == value]
        if series[i]:
            alike.setdefault(_training_of(run), []).append(i)
    groups = []
    for of_one in alike.values():
        end = max(series[i][-1][0] for i in of_one)
        groups.append([i for i in of_one if series[i][-1][0] == end])
    if not any(len(of_one) > 1 for of_one in groups):
        return None
    done = {i for of_one in groups for i in of_one}
    last = {i: series[i][-1][1] for i in done}
    best = {i: max(value for _, value in series[i]) for i in done}
    seeds = {i: run.facts['seed'] for i, run in runs.items()}
    trainings = []
    for of_one in groups:
        means = [
            mean
            for scores in (last, best)
            for mean in _means(of_one, groups[0], scores, seeds)
        ]
        trainings.append(Training(runs[of_one[0]].method, tuple(of_one), tuple(means)))
    return Seeds(
        columns=(f'{metric}, last', 'difference', f'{metric}, best', 'difference'),
        trainings=trainings,
        unfinished=sorted({i for of_one in alike.values() for i in of_one} - done),
    )


def _training_of(run: Run) -> tuple:
    """Return what runs of one training have in common."""
    resumed = run.settings.get('resume') == 'True'  # from a checkpoint of its own
    left_out = (*_OF_A_SEED, 'load_from') if resumed else _OF_A_SEED
    return tuple(
        sorted((k, v) for k, v in run.settings.items() if not k.startswith(left_out))
    )


def _means(
    of_one: Sequence[int],
    first: Sequence[int],
    scores: Mapping[int, float],
    seeds: Mapping[int, int | None],
) -> tuple[Mean, Mean]:
    """Return a training's mean, and the difference to the first, paired if possible."""
    mine, others = [[scores[i] for i in group] for group in (of_one, first)]
    mean = Mean(_text(float(np.mean(mine)), half_width(mine)))
    if of_one is first:
        return mean, Mean('')
    above = float(np.mean(mine) - np.mean(others))
    by_seed = [{seeds[i]: scores[i] for i in group} for group in (of_one, first)]
    known = by_seed[0].keys() == by_seed[1].keys() and None not in by_seed[0]
    if known and len(by_seed[0]) == len(mine) == len(others):
        half = half_width([by_seed[0][seed] - by_seed[1][seed] for seed in by_seed[0]])
    else:
        half = half_width_of_difference(mine, others)
    return mean, Mean(_text(above, half, '+'), abs(above) > half)


def _text(mean: float, half: float, sign: str = '') -> str:
    text = f'{mean:{sign}.2f}'
    return text if half != half else f'{text} ± {half:.2f}'


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a mean (Student's t); nan for one value."""
    from scipy import stats  # slow to import

    if len(values) < 2:
        return float('nan')
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def half_width_of_difference(values: Sequence[float], others: Sequence[float]) -> float:
    """Half-width of the 95 % interval of an unpaired difference (Welch's t), or nan."""
    from scipy import stats

    if min(len(values), len(others)) < 2:
        return float('nan')
    # Squared errors of both means, and the degrees of freedom that they have together.
    parts = np.array([np.var(x, ddof=1) / len(x) for x in (values, others)])
    if not parts.any():
        return 0.0
    degrees = parts.sum() ** 2 / sum(parts**2 / [len(values) - 1, len(others) - 1])
    return float(stats.t.ppf(0.975, degrees) * np.sqrt(parts.sum()))
