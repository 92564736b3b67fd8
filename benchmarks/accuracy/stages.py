"""The stages of the study: which runs each has, from what earlier ones chose.

Runs that choose settings have seeds of their own and never see the test split.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from records import Records
from settings import Run, SceneRun

TUNING = (100,)
EXPLORING = (100, 101, 102)
SEEDS = range(10)
LEARNING_RATES = (1e-3, 2e-3)
RATES = (0.05, 0.1, 0.2)
LAST = 3
"""Points at the end of the validation curve that choices go by."""

FEW, LONGER, MORE, ALL = 'few', 'longer', 'more', 'all'
REGIMES: dict[str, dict] = {
    FEW: {},
    LONGER: dict(iterations=9600),
    MORE: dict(images=4000, iterations=9600),
    ALL: dict(images=0, iterations=24000),
}
"""Training images and length: 1,000 images, 160 times each; the same three times as
long; 4,000 images, 120 times each; all 57,000, 21 times each."""

PLAIN: dict = {}
COSUB = dict(type='Cosub', weight=0.5)
UNTAUGHT = dict(type='Cosub', weight=0.0)


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


# ---- choosing the learning rate and the drop-path rate ---------------------------

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


# ---- the comparison --------------------------------------------------------------


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
    return over_seeds('main', methods)


def controls(records: Records) -> list[Run]:
    """Plain training on each image twice, and for as long as cosub takes."""
    plain, cosub = chosen(records, PLAIN), chosen(records, COSUB)
    methods = [
        replace(cosub, scheme=PLAIN, repeats=2),
        as_long_as(records, plain, cosub, SEEDS),
    ]
    return over_seeds('controls', methods)


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


def over_seeds(stage: str, methods: Iterable, seeds: Iterable[int] = SEEDS) -> list:
    """The same runs with every seed, seed by seed.

    Args:
        stage (str): Stage.
        methods (Iterable[Run | SceneRun]): One run a method.
        seeds (Iterable[int]): The seeds. Defaults to those of the comparison.
    """
    methods = list(methods)
    return [replace(run, stage=stage, seed=seed) for seed in seeds for run in methods]


# ---- what matters in cosub -------------------------------------------------------


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


# ---- scenes ----------------------------------------------------------------------

NETWORKS = ('swin', 'vit')
SCENE_SEEDS = range(5)
SCENE_RATES = (0.05, 0.1, 0.2, 0.4)
PRETRAINED = ('scratch', 'plain', 'cosub')
RELATIVES = ('AugDrop', 'AugPath', 'Stimulative', 'GroupKnowledge')
"""AugMask needs larger images for a Swin: it masks units of 32 pixels there."""
WAYS = ('output', 'intermediate', 'representation', 'kernel')
"""Of intra-model collaboration. The first alone is cosub, its loss twice as large."""


def _of_scene_rates(network: str, scheme: dict) -> list[SceneRun]:
    start = SceneRun('scene tuning', TUNING[0], network, 'plain', scheme=scheme)
    rates = SCENE_RATES if scheme else (0.0, *SCENE_RATES)
    return [replace(start, rate=rate) for rate in rates]


def scene_rates(records: Records, network: str) -> list[SceneRun]:
    """Segmentation by both at each rate, from plainly pretrained backbones.

    Both kinds of pretraining have the rate that :class:`SceneRun` has for them.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    schemes = (PLAIN, COSUB)
    return [run for scheme in schemes for run in _of_scene_rates(network, scheme)]


def scene_table(records: Records, network: str) -> list[SceneRun]:
    """Backbones from scratch, pretrained plainly and by cosub; segmentation by both.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    chosen = [chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB)]
    cells = [replace(run, pretrained=how) for run in chosen for how in PRETRAINED]
    return over_seeds('scene table', cells, SCENE_SEEDS)


def scene_controls(records: Records, network: str) -> list[SceneRun]:
    """Two views that do not teach, and plain training at cosub's rate or as long.

    All from plainly pretrained backbones.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    plain, cosub = (chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB))
    cells = [replace(cosub, scheme=scheme) for scheme in (UNTAUGHT, PLAIN)]
    cells.append(as_long_as(records, plain, cosub, SCENE_SEEDS))
    return over_seeds('scene controls', cells, SCENE_SEEDS)


def scene_schemes(records: Records, network: str) -> list[SceneRun]:
    """The other schemes at their defaults, from backbones pretrained by cosub.

    Where two submodels teach each other, at cosub's rate; else at plain training's.

    Args:
        records (Records): Results of earlier stages.
        network (str): One of NETWORKS.
    """
    plain, cosub = (chosen_for_scenes(records, network, s) for s in (PLAIN, COSUB))
    cells = [
        *(replace(plain, scheme=dict(type=name)) for name in RELATIVES),
        replace(cosub, scheme=collaboration(output=1.0, intermediate=0.5)),
        *(replace(plain, scheme=collaboration(**{way: 0.5})) for way in WAYS[1:]),
    ]
    cells = [replace(cell, pretrained='cosub') for cell in cells]
    return over_seeds('scene schemes', cells, SCENE_SEEDS)


def collaboration(**weights: float) -> dict:
    """Config of intra-model collaboration.

    Args:
        **weights (float): Weights of its ways; the others are 0.
    """
    return dict(type='Collaboration', **{**dict.fromkeys(WAYS, 0.0), **weights})


def chosen_for_scenes(records: Records, network: str, scheme: dict) -> SceneRun:
    """Segmentation by a scheme at the rate chosen for it.

    Args:
        records (Records): Results of the tuning.
        network (str): One of NETWORKS.
        scheme (dict): PLAIN or COSUB.
    """
    return tuned(records, _of_scene_rates(network, scheme), TUNING, 'miou')


STAGES: dict[str, Callable[[Records], list]] = {
    'learning rates': learning_rates,
    'rates': rates,
    'main': main,
    **{
        f'{name}, {network}': partial(stage, network=network)
        for network in NETWORKS
        for name, stage in (
            ('scene rates', scene_rates),
            ('scene table', scene_table),
            ('scene controls', scene_controls),
        )
    },
    'scene schemes, swin': partial(scene_schemes, network='swin'),
    'controls': controls,
    'variants': variants,
}
"""In the order of their worth, as far as one does not need another."""
for _regime in (LONGER, MORE, ALL):
    STAGES[f'rates, {_regime}'] = partial(rates, regime=_regime)
    STAGES[f'main, {_regime}'] = partial(main, regime=_regime)
