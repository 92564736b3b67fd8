"""The stages of the study: which runs each has, from what earlier ones chose.

Runs that choose settings have seeds of their own and never see the test split.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from records import Records
from run import Run

TUNING = (100, 101)
SEEDS = range(8)
LEARNING_RATES = (5e-4, 1e-3, 2e-3)
RATES = (0.05, 0.1, 0.2, 0.3)
PLAIN: dict = {}
COSUB = dict(type='Cosub', weight=0.5)
UNTAUGHT = dict(type='Cosub', weight=0.0)


def tuned(records: Records, candidates: Iterable[Run], seeds: Iterable[int]) -> Run:
    """The candidate of the highest mean accuracy on the validation split.

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
        return float(np.mean([records[r]['validation']['accuracy'] for r in runs]))

    return max(candidates, key=accuracy)


# ---- choosing the learning rate and the drop-path rate ---------------------------


def _of_learning_rates(scheme: dict) -> list[Run]:
    run = Run('tuning', TUNING[0], rate=0.1, scheme=scheme)
    return [replace(run, lr=lr) for lr in LEARNING_RATES]


def _of_rates(records: Records, scheme: dict) -> list[Run]:
    lr = tuned(records, _of_learning_rates(scheme), TUNING[:1]).lr
    rates = RATES if scheme else (0.0, *RATES)
    return [Run('tuning', TUNING[0], rate=r, scheme=scheme, lr=lr) for r in rates]


def chosen(records: Records, scheme: dict) -> Run:
    """Plain training or cosub at the settings chosen for it.

    Args:
        records (Records): Results of the tuning.
        scheme (dict): PLAIN or COSUB.
    """
    return tuned(records, _of_rates(records, scheme), TUNING)


def learning_rates(records: Records) -> list[Run]:
    """Plain training and cosub at each learning rate."""
    return _of_learning_rates(PLAIN) + _of_learning_rates(COSUB)


def rates(records: Records) -> list[Run]:
    """Plain training and cosub at each drop-path rate."""
    runs = _of_rates(records, PLAIN) + _of_rates(records, COSUB)
    return [replace(run, seed=seed) for seed in TUNING for run in runs]


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
