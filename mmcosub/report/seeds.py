"""Means and differences of trainings over seeds, with 95 % intervals."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .curves import main_metric
from .run import Run

# Settings that may differ between seeds.
_OF_A_SEED = ('randomness.seed', 'scheme.seed', 'resume', 'log_level')

Scores = list[tuple[int | None, float]]
"""Seed and score of each run of a training."""


class Mean(NamedTuple):
    """Mean, or a difference of means, which is certain if its interval excludes 0."""

    text: str
    certain: bool = False


class Training(NamedTuple):
    """Runs that differ in their seed alone, with a mean for each column."""

    method: str
    runs: list[int]
    means: list[Mean]


class Seeds(NamedTuple):
    """Trainings by first run, and runs left out as other seeds were trained longer."""

    columns: tuple[str, ...]
    trainings: list[Training]
    unfinished: list[int]


def compare_trainings(runs: Mapping[int, Run]) -> Seeds | None:
    """Compare trainings of one task over their seeds; None if none has several."""
    metric = main_metric(*(run.records for run in runs.values()))
    series: dict[int, list[tuple[float, float]]] = {}
    alike: dict[tuple, list[int]] = {}
    for i, run in runs.items():
        series[i] = run.records.known(metric)
        if series[i]:
            alike.setdefault(_training_of(run), []).append(i)
    trainings, unfinished = [], []
    first: list[Scores] = []
    for of_one in alike.values():
        end = max(series[i][-1][0] for i in of_one)
        done = [i for i in of_one if series[i][-1][0] == end]
        unfinished += [i for i in of_one if i not in done]
        seeds = [runs[i].facts['seed'] for i in done]
        last = [series[i][-1][1] for i in done]
        best = [max(value for _, value in series[i]) for i in done]
        scores = [[*zip(seeds, of, strict=True)] for of in (last, best)]
        means = []
        for mine, others in zip(scores, first or scores, strict=True):
            means += [_mean(mine), _difference(mine, others) if first else Mean('')]
        first = first or scores
        trainings.append(Training(runs[done[0]].method, done, means))
    if not any(len(training.runs) > 1 for training in trainings):
        return None
    columns = (f'{metric}, last', 'difference', f'{metric}, best', 'difference')
    return Seeds(columns, trainings, sorted(unfinished))


def _training_of(run: Run) -> tuple:
    """Return what runs of one training have in common."""
    resumed = run.settings.get('resume') == 'True'  # from a checkpoint of its own
    left_out = (*_OF_A_SEED, 'load_from') if resumed else _OF_A_SEED
    return tuple(
        sorted((k, v) for k, v in run.settings.items() if not k.startswith(left_out))
    )


def _mean(scores: Scores) -> Mean:
    values = [value for _, value in scores]
    return Mean(_text(np.mean(values), half_width(values)))


def _difference(scores: Scores, others: Scores) -> Mean:
    """Return the difference of means, paired if both trainings have the same seeds."""
    mine, first = dict(scores), dict(others)
    paired = mine.keys() == first.keys() and None not in mine
    if paired and len(mine) == len(scores) == len(others):
        differences = [mine[seed] - first[seed] for seed in mine]
        above, half = np.mean(differences), half_width(differences)
    else:
        values = [[value for _, value in each] for each in (scores, others)]
        above, half = np.mean(values[0]) - np.mean(values[1]), half_width(*values)
    return Mean(_text(above, half, '+'), bool(abs(above) > half))


def _text(mean: np.floating, half: float, sign: str = '') -> str:
    text = f'{mean:{sign}.2f}'
    return text if half != half else f'{text} ± {half:.2f}'


def half_width(values: Sequence[float], others: Sequence[float] | None = None) -> float:
    """Half-width of the 95 % interval of a mean (Student's t); nan for one value.

    With others, of the unpaired difference of both means (Welch's t).
    """
    from scipy import stats  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of equal values, and of one
        if others is None:
            test = stats.ttest_1samp(values, 0)
        else:
            test = stats.ttest_ind(values, others, equal_var=False)
        low, high = test.confidence_interval()
    return float(high - low) / 2
