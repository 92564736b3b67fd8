"""The stages with unlabelled scenes: which runs each has, from what earlier ones chose.

Labels of the first 60 to 500 training scenes, 4,000 further scenes without labels, a
Swin pretrained without cosub. Learning rate, length and batch are those of the other
stages on scenes. Drop-path rates are chosen with 60 labels, for every number of labels.
"""

from collections.abc import Iterable
from dataclasses import replace

from choices import COSUB, PLAIN, TUNING, as_long_as, over_seeds, tuned
from records import Records
from settings import UnlabelledRun

COUNTS = (60, 125, 250, 500)
TUNED_WITH = 60
"""Labelled scenes with which rates are chosen."""
SEEDS = range(5)
RATES = (0.1, 0.2, 0.4)
DEPTH = dict(type='StochasticDepth')
RAMP = dict(ramp_iters=450)
"""The first 30 % of a training."""
LONGER = 3
"""How many times as long the longer trainings are."""

LABELS_ONLY: dict[str, dict] = {
    'baseline': dict(scheme=PLAIN),
    'cosub': dict(scheme=COSUB),
}
WITH_UNLABELLED: dict[str, dict] = {
    'full student': dict(scheme=DEPTH, unlabelled=dict(students='full', **RAMP)),
    'two submodels': dict(scheme=COSUB, unlabelled=RAMP),
}
VARIANTS: dict[str, dict] = {
    'two submodels, complementary': dict(
        scheme=COSUB, unlabelled=dict(students='complementary', **RAMP)
    ),
    'full student, hard targets': dict(
        scheme=DEPTH, unlabelled=dict(students='full', threshold=0.9, **RAMP)
    ),
    'two submodels, current weights teach': dict(
        scheme=COSUB, unlabelled=dict(teacher='current', **RAMP)
    ),
    'two submodels, no CutMix': dict(
        scheme=COSUB, unlabelled=dict(cutmix=False, **RAMP)
    ),
}
MAIN = LABELS_ONLY | WITH_UNLABELLED
ARMS = MAIN | VARIANTS


def of_length(unlabelled: dict, iterations: int) -> dict:
    """Settings of unlabelled scenes, with the ramp of a training of some length.

    Args:
        unlabelled (dict): The settings; empty for none.
        iterations (int): Length of the training.
    """
    return unlabelled and {**unlabelled, 'ramp_iters': 3 * iterations // 10}


def candidates(arm: str) -> list[UnlabelledRun]:
    """An arm at each drop-path rate.

    Args:
        arm (str): One of ARMS.
    """
    start = UnlabelledRun(
        'unlabelled tuning',
        TUNING[0],
        pretrained='plain',
        scenes=TUNED_WITH,
        **ARMS[arm],
    )
    rates = RATES if start.scheme == COSUB else (0.0, *RATES)
    return [replace(start, rate=rate) for rate in rates]


def chosen(records: Records, arm: str, count: int) -> UnlabelledRun:
    """An arm at the rate with the highest mIoU on the validation split.

    Args:
        records (Records): Results of the tuning.
        arm (str): One of ARMS; a variant has the rate of the arm that it varies.
        count (int): Labelled scenes.
    """
    basis = arm.partition(', ')[0]
    run = tuned(records, candidates(basis), TUNING, 'miou')
    return replace(run, scenes=count, **ARMS[arm])


def rates(records: Records) -> list[UnlabelledRun]:
    """Every arm at each rate, with a seed for tuning.

    Args:
        records (Records): Results of earlier stages.
    """
    return [run for arm in MAIN for run in candidates(arm)]


def main(records: Records, count: int) -> list[UnlabelledRun]:
    """All arms at their rates.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled scenes.
    """
    return _over_seeds(records, MAIN, count)


def variants(records: Records, count: int) -> list[UnlabelledRun]:
    """One choice of the method changed at a time.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled scenes.
    """
    return _over_seeds(records, VARIANTS, count)


def as_long(records: Records, count: int) -> list[UnlabelledRun]:
    """Labels only, and a full student, for as long as two submodels take.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled scenes.
    """
    longest = chosen(records, 'two submodels', count)
    seeds = [seed for seed in SEEDS if replace(longest, seed=seed) in records]
    arms = (*LABELS_ONLY, 'full student')
    cells = [
        as_long_as(records, chosen(records, arm, count), longest, seeds) for arm in arms
    ]
    return over_seeds('unlabelled', cells, SEEDS)


def longer(records: Records, count: int) -> list[UnlabelledRun]:
    """All arms at their rates, three times as long.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled scenes.
    """
    return over_seeds('unlabelled', _longer(records, count).values(), SEEDS)


def longer_as_long(records: Records, count: int) -> list[UnlabelledRun]:
    """Labels only, for as long as two submodels take in the longer training.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled scenes.
    """
    runs = _longer(records, count)
    longest = runs['two submodels']
    seeds = [
        seed
        for seed in SEEDS
        if all(replace(run, seed=seed) in records for run in runs.values())
    ]
    cells = [as_long_as(records, runs[arm], longest, seeds) for arm in LABELS_ONLY]
    return over_seeds('unlabelled', cells, SEEDS)


def _longer(records: Records, count: int) -> dict[str, UnlabelledRun]:
    runs = {}
    for arm in MAIN:
        run = chosen(records, arm, count)
        length = LONGER * run.iterations
        unlabelled = of_length(run.unlabelled, length)
        runs[arm] = replace(run, iterations=length, unlabelled=unlabelled)
    return runs


def ceiling(records: Records) -> list[UnlabelledRun]:
    """Labels for all scenes.

    Args:
        records (Records): Results of earlier stages.
    """
    cells = [chosen(records, arm, 500) for arm in LABELS_ONLY]
    return over_seeds('unlabelled', [replace(c, scenes=4500) for c in cells], SEEDS)


def _over_seeds(
    records: Records, arms: Iterable[str], count: int
) -> list[UnlabelledRun]:
    runs = [chosen(records, arm, count) for arm in arms]
    return over_seeds('unlabelled', runs, SEEDS)
