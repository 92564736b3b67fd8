"""The stages with unlabelled images: which runs each has, from what earlier ones chose.

Scenes: labels of the first 60 to 500, 4,000 further ones without labels, a Swin
pretrained without cosub. Photographs: 100 to 1,000 labelled, all 57,000 without labels,
a ViT from random weights. Learning rate, length and batch are those of the other
stages. Drop-path rates are chosen with one number of labels for all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from choices import COSUB, PLAIN, TUNING, as_long_as, over_seeds, tuned
from records import Records
from settings import UnlabelledPhotographRun, UnlabelledRun


@dataclass(frozen=True)
class Study:
    """Images of which some are labelled.

    Args:
        start (Any): Run from which all others differ, with the number of labels that
            rates are chosen with.
        labels (str): Its field with that number.
        counts (tuple[int, ...]): Numbers of labels.
        rates (tuple[float, ...]): Drop-path rates to choose from.
        score (str): What is to be highest on the validation split.
    """

    start: Any
    labels: str
    counts: tuple[int, ...]
    rates: tuple[float, ...]
    score: str


SCENES = Study(
    UnlabelledRun('unlabelled tuning', TUNING[0], pretrained='plain', scenes=60),
    'scenes',
    (60, 125, 250, 500),
    (0.1, 0.2, 0.4),
    'miou',
)
PHOTOGRAPHS = Study(
    UnlabelledPhotographRun('unlabelled tuning', TUNING[0]),
    'images',
    (100, 250, 1000),
    (0.05, 0.1, 0.2),
    'accuracy',
)
SEEDS = range(5)
TIMED = range(3)
"""Seeds whose step times set the lengths of equal time, so that more change nothing."""
DEPTH = dict(type='StochasticDepth')
LONGER = 3
"""How many times as long the longer trainings are."""

LABELS_ONLY: dict[str, dict] = {
    'baseline': dict(scheme=PLAIN),
    'cosub': dict(scheme=COSUB),
}
WITH_UNLABELLED: dict[str, dict] = {
    'full student': dict(scheme=DEPTH, unlabelled=dict(students='full')),
    'two submodels': dict(scheme=COSUB, unlabelled={}),
}
VARIANTS: dict[str, dict] = {
    'two submodels, complementary': dict(
        scheme=COSUB, unlabelled=dict(students='complementary')
    ),
    'two submodels, one': dict(scheme=COSUB, unlabelled=dict(students='submodel')),
    'full student, channel dropout': dict(
        scheme=DEPTH, unlabelled=dict(students='channels')
    ),
    'full student, hard targets': dict(
        scheme=DEPTH, unlabelled=dict(students='full', threshold=0.9)
    ),
    'two submodels, current weights teach': dict(
        scheme=COSUB, unlabelled=dict(teacher='current')
    ),
    'two submodels, no CutMix': dict(scheme=COSUB, unlabelled=dict(cutmix=False)),
}
MAIN = LABELS_ONLY | WITH_UNLABELLED
ARMS = MAIN | VARIANTS


def settings_of(arm: str, iterations: int) -> dict[str, dict]:
    """Scheme and unlabelled images of an arm; their weight rises for 30 % of it.

    Args:
        arm (str): One of ARMS.
        iterations (int): Length of the training.
    """
    settings = {'unlabelled': {}, **ARMS[arm]}
    if 'unlabelled' in ARMS[arm]:
        ramp = dict(ramp_iters=3 * iterations // 10)
        settings['unlabelled'] = settings['unlabelled'] | ramp
    return settings


def candidates(arm: str, study: Study = SCENES) -> list:
    """An arm at each drop-path rate.

    Args:
        arm (str): One of ARMS.
        study (Study): Of scenes or of photographs.
    """
    start = study.start
    start = replace(start, **settings_of(arm, start.iterations))
    rates = study.rates if start.scheme == COSUB else (0.0, *study.rates)
    return [replace(start, rate=rate) for rate in rates]


def chosen(
    records: Records, arm: str, count: int, study: Study = SCENES, times: int = 1
) -> Any:
    """An arm at the rate with the highest score on the validation split.

    Args:
        records (Records): Results of the tuning.
        arm (str): One of ARMS; a variant has the rate of the arm that it varies.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
        times (int): How many times as long as the training that chose the rate.
    """
    basis = arm.partition(', ')[0]
    run = tuned(records, candidates(basis, study), TUNING, study.score)
    length = times * run.iterations
    settings = settings_of(arm, length)
    return replace(run, iterations=length, **{study.labels: count}, **settings)


def rates(records: Records, study: Study = SCENES) -> list:
    """Every arm at each rate, with a seed for tuning.

    Args:
        records (Records): Results of earlier stages.
        study (Study): Of scenes or of photographs.
    """
    return [run for arm in MAIN for run in candidates(arm, study)]


def main(
    records: Records,
    count: int,
    study: Study = SCENES,
    times: int = 1,
    arms: Iterable[str] = tuple(MAIN),
) -> list:
    """Arms at their rates.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
        times (int): How many times as long as the training that chose the rate.
        arms (Iterable[str]): Some of ARMS.
    """
    runs = [chosen(records, arm, count, study, times) for arm in arms]
    return over_seeds('unlabelled', runs, SEEDS)


def as_long(
    records: Records, count: int, study: Study = SCENES, times: int = 1
) -> list:
    """Labels only, and a full student, for as long as two submodels take.

    Args:
        records (Records): Results of earlier stages.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
        times (int): How many times as long as the training that chose the rate.
    """
    longest = chosen(records, 'two submodels', count, study)
    cells = []
    for arm in MAIN:
        if arm != 'two submodels':
            short = chosen(records, arm, count, study)
            equal = as_long_as(records, short, longest, TIMED).iterations
            run = chosen(records, arm, count, study, times)
            cells.append(replace(run, iterations=times * equal))
    return over_seeds('unlabelled', cells, SEEDS)


def ceiling(records: Records) -> list:
    """Labels for all scenes.

    Args:
        records (Records): Results of earlier stages.
    """
    cells = [chosen(records, arm, 4500) for arm in LABELS_ONLY]
    return over_seeds('unlabelled', cells, SEEDS)
