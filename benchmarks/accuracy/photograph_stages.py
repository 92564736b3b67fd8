"""The stages on photographs: which runs each has, from what earlier ones chose."""

from dataclasses import replace

from choices import (
    COSUB,
    PAIRED,
    PLAIN,
    TUNING,
    UNTAUGHT,
    as_long_as,
    over_seeds,
    tuned,
)
from records import Records
from settings import Run

EXPLORING = (100, 101, 102)
SEEDS = range(10)
TIMED = range(3)
"""Seeds over which the step time of fewer pairs is taken."""
LEARNING_RATES = (1e-3, 2e-3)
RATES = (0.05, 0.1, 0.2)
WEIGHT_DECAYS = (0.05, 0.2, 0.8)
FEW, LONGER, MORE, ALL = 'few', 'longer', 'more', 'all'
REGIMES: dict[str, dict] = {
    FEW: {},
    LONGER: dict(iterations=9600),
    MORE: dict(images=4000, iterations=9600),
    ALL: dict(images=0, iterations=24000),
}
"""Training images and length: 1,000 images, 160 times each; the same three times as
long; 4,000 images, 120 times each; all 57,000, 21 times each."""

START = Run('tuning', TUNING[0])
"""Plain training without drop path, from which all other runs differ."""


def learning_rates(records: Records) -> list[Run]:
    """Plain training without drop path at each learning rate.

    The one chosen is that of all methods, which if anything favours plain training.
    """
    return [replace(START, lr=lr) for lr in LEARNING_RATES]


def _of_rates(records: Records, scheme: dict, regime: str) -> list[Run]:
    start = tuned(records, learning_rates(records), TUNING)
    start = replace(start, scheme=scheme, **REGIMES[regime])
    return [replace(start, rate=r) for r in (RATES if scheme else (0.0, *RATES))]


def rates(records: Records, regime: str = FEW) -> list[Run]:
    """Plain training and cosub at each drop-path rate.

    Args:
        records (Records): Results of earlier stages.
        regime (str): One of REGIMES.
    """
    runs = [r for scheme in (PLAIN, COSUB) for r in _of_rates(records, scheme, regime)]
    return [replace(run, seed=seed) for seed in TUNING for run in runs]


def chosen(records: Records, scheme: dict, regime: str = FEW) -> Run:
    """Plain training or cosub at the settings chosen for it.

    Args:
        records (Records): Results of the tuning.
        scheme (dict): PLAIN or COSUB.
        regime (str): One of REGIMES.
    """
    return tuned(records, _of_rates(records, scheme, regime), TUNING)


def main(records: Records, regime: str = FEW) -> list[Run]:
    """Plain training and cosub at their chosen rates, and what tells them apart.

    That is plain training without drop path and at cosub's rate, and cosub's two views
    that do not teach.

    Args:
        records (Records): Results of earlier stages.
        regime (str): One of REGIMES.
    """
    plain, cosub = (chosen(records, s, regime) for s in (PLAIN, COSUB))
    methods = [
        plain,
        cosub,
        replace(plain, rate=0.0),
        replace(cosub, scheme=UNTAUGHT),
        replace(cosub, scheme=PLAIN),
    ]
    return over_seeds('main', methods, SEEDS)


def as_long(records: Records, regime: str = FEW) -> Run:
    """Plain training for as long as cosub takes.

    By the steps of the first comparison, in all regimes.

    Args:
        records (Records): Results of earlier stages.
        regime (str): One of REGIMES.
    """
    few = chosen(records, PLAIN)
    longer = as_long_as(records, few, chosen(records, COSUB), SEEDS)
    plain = chosen(records, PLAIN, regime)
    iterations = plain.iterations * longer.iterations // few.iterations
    return replace(plain, iterations=iterations)


def controls(records: Records, regime: str = FEW) -> list[Run]:
    """Plain training on each image twice, and for as long as cosub takes.

    Args:
        records (Records): Results of earlier stages.
        regime (str): One of REGIMES.
    """
    twice = replace(chosen(records, COSUB, regime), scheme=PLAIN, repeats=2)
    return over_seeds('controls', [twice, as_long(records, regime)], SEEDS)


def step_times(records: Records) -> list[Run]:
    """Cosub and cosub with fewer pairs, briefly, for what a step takes on one machine.

    Args:
        records (Records): Results of earlier stages.
    """
    cosub = replace(chosen(records, COSUB), iterations=800)
    return over_seeds('pairs', [cosub, replace(cosub, scheme=PAIRED)], TIMED)


def fewer_pairs(records: Records) -> list[Run]:
    """Cosub with two views of half of the images, in the longer training.

    As long as cosub takes, by the ratio of their step times.

    Args:
        records (Records): Results of earlier stages.
    """
    few, paired = step_times(records)[:2]
    cosub = chosen(records, COSUB, LONGER)
    ratio = as_long_as(records, paired, few, TIMED).iterations / few.iterations
    iterations = 10 * round(cosub.iterations * ratio / 10)
    return over_seeds(
        'pairs', [replace(cosub, scheme=PAIRED, iterations=iterations)], SEEDS
    )


def variants(records: Records) -> list[Run]:
    """Other settings of cosub and a full network that teaches, on the validation split.

    The chosen cosub and the two views that do not teach are among them, for comparison.
    """
    cosub = chosen(records, COSUB)
    schemes = [
        COSUB,
        UNTAUGHT,
        *(dict(type='Cosub', weight=weight) for weight in (0.25, 0.75, 0.9)),
        dict(type='Cosub', weight=0.5, temperature=2.0),
        dict(type='AugPath', ratio=0.5),
    ]
    runs = [replace(cosub, scheme=scheme) for scheme in schemes]
    runs += [replace(run, rate=0.3) for run in runs[:2]]
    runs += [replace(cosub, ramp=0.5), replace(cosub, loss='bce')]
    return over_seeds('variants', runs, EXPLORING)


def weight_decays(records: Records) -> list[Run]:
    """Plain training and cosub at higher weight decays, on the validation split.

    Args:
        records (Records): Results of earlier stages.
    """
    methods = [
        replace(chosen(records, scheme), weight_decay=weight_decay)
        for scheme in (PLAIN, COSUB)
        for weight_decay in WEIGHT_DECAYS
    ]
    return over_seeds('weight decays', methods, EXPLORING)
