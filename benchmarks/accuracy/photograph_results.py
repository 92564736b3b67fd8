"""Results of photographs by the names that trainings have in tables."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from choices import UNTAUGHT
from photograph_stages import FEW, REGIMES, controls, main
from records import Records
from settings import Run

Results = dict[str, dict[int, dict]]
"""Results by name of the training and seed."""
SCHEMES = {'Cosub': 'cosub', 'AugPath': 'AugPath'}


def name_of(run: Run, regime: str = FEW) -> str:
    """What a run is called in tables.

    Args:
        run (Run): The run, of any seed.
        regime (str): One of REGIMES, whose settings go without saying.
    """
    if not run.scheme:
        name = f'plain, drop path {run.rate:g}' if run.rate else 'plain, no drop path'
    elif run.scheme == UNTAUGHT:
        name = f'two views, drop path {run.rate:g}, no distillation'
    else:
        name = f'{SCHEMES[run.scheme["type"]]}, drop path {run.rate:g}'
        usual = dict(type=run.scheme['type'], weight=0.5)
        name += ''.join(
            f', {k} {v:g}' for k, v in run.scheme.items() if v != usual.get(k)
        )
    start = Run('', 0, **REGIMES[regime])
    if run.repeats > 1:
        name += ', each image twice'
    for field in (
        'images',
        'iterations',
        'lr',
        'weight_decay',
        'loss',
        'width',
        'ramp',
    ):
        value = getattr(run, field)
        if value != getattr(start, field):
            name += f', {field.replace("_", " ")} {value}'
    return name


def runs_of(records: Records, *stages: Callable[[Records], list[Run]]) -> list[Run]:
    """The runs of stages, up to the first that needs records which there are not yet.

    Args:
        records (Records): Results.
        *stages (Callable): The stages.
    """
    runs: list[Run] = []
    for stage in stages:
        try:
            runs += stage(records)
        except KeyError:
            break
    return runs


def grouped(records: Records, runs: Iterable[Run], regime: str = FEW) -> Results:
    """Results of runs, as far as there are any.

    Args:
        records (Records): All results.
        runs (Iterable[Run]): The runs.
        regime (str): One of REGIMES, which they are of.
    """
    groups: Results = defaultdict(dict)
    for run in runs:
        if run in records:
            groups[name_of(run, regime)][run.seed] = records[run]
    return dict(groups)


def compared(records: Records, regime: str = FEW) -> Results:
    """Results of the comparison and its controls.

    Args:
        records (Records): All results.
        regime (str): One of REGIMES.
    """
    stages = (partial(stage, regime=regime) for stage in (main, controls))
    return grouped(records, runs_of(records, *stages), regime)
