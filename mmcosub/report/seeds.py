"""Means and differences of trainings over seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcosub.analysis.intervals import half_width, half_width_of_difference

from .curves import main_metric
from .run import Run

# Settings that may differ between seeds.
_OF_A_SEED = ('randomness.seed', 'scheme.seed', 'resume', 'log_level')


@dataclass(frozen=True)
class Mean:
    """Mean over seeds, or difference of two means.

    Args:
        text (str): The value and its 95 % interval.
        certain (bool): True for a significant difference (interval excludes 0).
    """

    text: str
    certain: bool = False


@dataclass(frozen=True)
class Training:
    """Runs that differ in their seed alone.

    Args:
        method (str): Training method.
        runs (tuple[int, ...]): Numbers on the page.
        means (tuple[Mean, ...]): For each column of the table.
    """

    method: str
    runs: tuple[int, ...]
    means: tuple[Mean, ...]


@dataclass(frozen=True)
class Seeds:
    """Trainings side by side.

    Args:
        columns (tuple[str, ...]): Names of the columns.
        trainings (list[Training]): The trainings, in the order of their first runs.
        unfinished (list[int]): Numbers of runs that are left out, as another seed was
            trained for longer.
    """

    columns: tuple[str, ...]
    trainings: list[Training]
    unfinished: list[int]


def compare_trainings(runs: Mapping[int, Run]) -> Seeds | None:
    """Compare trainings over their seeds.

    Args:
        runs (Mapping[int, Run]): Runs of one task, by number on the page.

    Returns:
        Seeds | None: None if no training has several seeds.
    """
    metric = main_metric([run.records for run in runs.values()])
    if metric is None:
        return None
    series = {i: _known(run, metric) for i, run in runs.items()}
    alike: dict[tuple, list[int]] = {}
    for i, run in runs.items():
        if series[i]:
            alike.setdefault(_training_of(run), []).append(i)
    ends = [max(series[i][-1][0] for i in of_one) for of_one in alike.values()]
    groups = [
        [i for i in of_one if series[i][-1][0] == end]
        for of_one, end in zip(alike.values(), ends, strict=True)
    ]
    if not any(len(of_one) > 1 for of_one in groups):
        return None
    done = {i for of_one in groups for i in of_one}
    seeds = {i: run.facts['seed'] for i, run in runs.items()}
    last = {i: series[i][-1][1] for i in done}
    best = {i: max(value for _, value in series[i]) for i in done}
    first = groups[0]
    return Seeds(
        columns=(f'{metric}, last', 'difference', f'{metric}, best', 'difference'),
        trainings=[
            Training(
                runs[of_one[0]].method,
                tuple(of_one),
                (
                    *_means(of_one, first, last, seeds),
                    *_means(of_one, first, best, seeds),
                ),
            )
            for of_one in groups
        ],
        unfinished=sorted({i for of_one in alike.values() for i in of_one} - done),
    )


def _known(run: Run, metric: str) -> list[tuple[float, float]]:
    return [(at, value) for at, value in run.records.series(metric) if value == value]


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
    """Return a training's mean and its difference to the first training.

    Args:
        of_one (Sequence[int]): Numbers of the training's runs.
        first (Sequence[int]): Numbers of the first training's runs.
        scores (Mapping[int, float]): Score of each run.
        seeds (Mapping[int, int | None]): Seed of each run, None if unknown.
    """
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
