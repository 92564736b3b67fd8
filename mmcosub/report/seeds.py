"""Means and differences of trainings over seeds, with 95 % intervals."""

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .curves import main_metric
from .run import Run

# Settings that may differ between seeds.
_OF_A_SEED = ('randomness.seed', 'scheme.seed', 'resume', 'log_level')


class Training(NamedTuple):
    """Runs that differ in their seed alone, with the mean of their last metric.

    ``difference`` is from the first training over the seeds that both have, and
    ``certain`` if its interval excludes 0.
    """

    method: str
    runs: list[int]
    mean: str
    difference: str
    certain: bool


class Seeds(NamedTuple):
    """Trainings by first run, and runs left out as other seeds were trained longer."""

    metric: str
    trainings: list[Training]
    unfinished: list[int]


def compare_trainings(runs: Mapping[int, Run]) -> Seeds | None:
    """Compare trainings of one task over their seeds; None if none has several."""
    metric = main_metric(*(run.records for run in runs.values()))
    last: dict[int, tuple[float, float]] = {}
    alike: dict[tuple, list[int]] = {}
    for i, run in runs.items():
        if series := run.records.known(metric):
            last[i] = series[-1]
            alike.setdefault(_training_of(run), []).append(i)
    found = Seeds(str(metric), [], [])
    first: dict[int | None, float] = {}
    for of_one in alike.values():
        end = max(last[i][0] for i in of_one)
        done = [i for i in of_one if last[i][0] == end]
        found.unfinished.extend(i for i in of_one if i not in done)
        own = {runs[i].facts['seed']: last[i][1] for i in done}
        both = own.keys() & first.keys() - {None}
        gains = [own[seed] - first[seed] for seed in both]
        first = first or own
        certain = len(gains) > 1 and abs(np.mean(gains)) > half_width(gains)
        means = _text([last[i][1] for i in done]), _text(gains, '+')
        found.trainings.append(Training(runs[done[0]].method, done, *means, certain))
    several = any(len(training.runs) > 1 for training in found.trainings)
    return found if several else None


def _training_of(run: Run) -> tuple:
    """Return what runs of one training have in common."""
    resumed = run.settings.get('resume') == 'True'  # from a checkpoint of its own
    left_out = (*_OF_A_SEED, 'load_from') if resumed else _OF_A_SEED
    return tuple(
        sorted((k, v) for k, v in run.settings.items() if not k.startswith(left_out))
    )


def _text(values: Sequence[float], sign: str = '') -> str:
    if not values:
        return '–'
    text, half = f'{np.mean(values):{sign}.2f}', half_width(values)
    return text if half != half else f'{text} ± {half:.2f}'


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a mean (Student's t); nan for one value."""
    from scipy import stats  # slow to import

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of equal values, and of one
        low, high = stats.ttest_1samp(values, 0).confidence_interval()
    return float(high - low) / 2
