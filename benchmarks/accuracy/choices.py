"""How stages choose settings from the records of earlier ones.

Runs that choose settings have seeds of their own and never see the test split.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from records import Records

PLAIN: dict = {}
COSUB = dict(type='Cosub', weight=0.5)
PAIRED = dict(type='Cosub', weight=0.5, paired=0.5)
UNTAUGHT = dict(type='Cosub', weight=0.0)

TUNING = (100,)
LAST = 3
"""Points at the end of the validation curve that choices go by."""


def tuned(
    records: Records,
    candidates: Iterable,
    seeds: Iterable[int],
    score: str = 'accuracy',
) -> Any:
    """The candidate of the highest accuracy on the validation split.

    It is the mean over seeds and over the last points of the validation curve, which
    scatters less than the last point alone.

    Args:
        records (Records): Results of all candidates.
        candidates (Iterable[Run | SceneRun]): Runs to choose from, whatever their seed.
        seeds (Iterable[int]): Seeds to take the mean over.
        score (str): What is to be highest. Defaults to 'accuracy'.

    Raises:
        KeyError: If a run has no record yet. Earlier stages are to be done first.
    """
    seeds = list(seeds)

    def of_curve(run: Any) -> float:
        runs = [replace(run, seed=seed) for seed in seeds]
        curves = [records[r]['curve'][-LAST:] for r in runs]
        return float(np.mean([[p[score] for p in curve] for curve in curves]))

    return max(candidates, key=of_curve)


def as_long_as(records: Records, plain: Any, cosub: Any, seeds: Iterable[int]) -> Any:
    """Plain training for as long as cosub takes.

    By the median ratio over seeds of what a step takes, in processor time.

    Args:
        records (Records): Results of both.
        plain (Run | SceneRun): Plain training.
        cosub (Run | SceneRun): Cosub.
        seeds (Iterable[int]): The seeds.
    """
    ratios = [
        records[replace(cosub, seed=seed)]['step_ms']
        / records[replace(plain, seed=seed)]['step_ms']
        for seed in seeds
    ]
    tens = round(plain.iterations * float(np.median(ratios)) / 10)
    return replace(plain, iterations=10 * tens)


def over_seeds(stage: str, methods: Iterable, seeds: Iterable[int]) -> list:
    """The same runs with every seed, seed by seed.

    Args:
        stage (str): Stage.
        methods (Iterable[Run | SceneRun]): One run a method.
        seeds (Iterable[int]): The seeds.
    """
    methods = list(methods)
    return [replace(run, stage=stage, seed=seed) for seed in seeds for run in methods]
