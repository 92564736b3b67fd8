"""The stages of the study: which runs each has, from what earlier ones chose.

Runs that choose settings have seeds of their own and never see the test split.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from records import Records
from run import Run

TUNING = (100,)
SEEDS = range(8)
LEARNING_RATES = (5e-4, 1e-3, 2e-3)
RATES = (0.05, 0.1, 0.2)
LAST = 3
"""Points at the end of the validation curve that choices go by."""

PLAIN: dict = {}
COSUB = dict(type='Cosub', weight=0.5)
UNTAUGHT = dict(type='Cosub', weight=0.0)


def tuned(records: Records, candidates: Iterable[Run], seeds: Iterable[int]) -> Run:
    """The candidate of the highest accuracy on the validation split.

    It is the mean over seeds and over the last points of the validation curve, which
    scatters less than the last point alone.

    Args:
        records (Records): Results of all candidates.
        candidates (Iterable[Run]): Runs to choose from, whatever their seed.
        seeds (Iterable[int]): Seeds to take the mean over.

    Raises:
        KeyError: If a run has no record yet. Earlier stages are to be done first.
    """
    seeds = list(seeds)

    def accuracy(run: Run) -> float:
        runs = [replace(run, seed=seed) for seed in seeds]
        curves = [records[r]['curve'][-LAST:] for r in runs]
        return float(np.mean([[p['accuracy'] for p in curve] for curve in curves]))

    return max(candidates, key=accuracy)


# ---- choosing the learning rate and the drop-path rate ---------------------------

START = Run('tuning', TUNING[0])


def learning_rates(records: Records) -> list[Run]:
    """Plain training without drop path at each learning rate.

    The one chosen is that of all methods, which if anything favours plain training.
    """
    return [replace(START, lr=lr) for lr in LEARNING_RATES]


def _of_rates(records: Records, scheme: dict) -> list[Run]:
    start = tuned(records, learning_rates(records), TUNING)
    rates = RATES if scheme else (0.0, *RATES)
    return [replace(start, rate=rate, scheme=scheme) for rate in rates]


def rates(records: Records) -> list[Run]:
    """Plain training and cosub at each drop-path rate."""
    runs = _of_rates(records, PLAIN) + _of_rates(records, COSUB)
    return [replace(run, seed=seed) for seed in TUNING for run in runs]


def chosen(records: Records, scheme: dict) -> Run:
    """Plain training or cosub at the settings chosen for it.

    Args:
        records (Records): Results of the tuning.
        scheme (dict): PLAIN or COSUB.
    """
    return tuned(records, _of_rates(records, scheme), TUNING)


# ---- the comparison --------------------------------------------------------------


def main(records: Records) -> list[Run]:
    """Plain training, cosub, no drop path, and cosub's views that do not teach."""
    plain, cosub = chosen(records, PLAIN), chosen(records, COSUB)
    methods = [
        plain,
        cosub,
        replace(plain, rate=0.0),
        replace(cosub, scheme=UNTAUGHT),
    ]
    return over_seeds('main', methods)


def over_seeds(stage: str, methods: Iterable[Run]) -> list[Run]:
    """The same runs with every seed of the comparison, seed by seed.

    Args:
        stage (str): Stage.
        methods (Iterable[Run]): One run a method.
    """
    methods = list(methods)
    return [replace(run, stage=stage, seed=seed) for seed in SEEDS for run in methods]


STAGES: dict[str, Callable[[Records], list[Run]]] = {
    'learning rates': learning_rates,
    'rates': rates,
    'main': main,
}
