"""The tables of trainings with unlabelled images. Scores are of the test split."""

from collections import defaultdict
from statistics import fmean
from typing import Any

from intervals import cell, gain, rows_of
from records import Records
from settings import TEST_SEEDS
from unlabelled_stages import (
    ARMS,
    LONGER,
    MAIN,
    PHOTOGRAPHS,
    SCENES,
    Study,
    settings_of,
)

METHOD = 'two submodels'
OTHERS = [arm for arm in MAIN if arm != METHOD]
ENOUGH = 3
"""Seeds that a row needs."""
AT_MOST = 1.25
"""Times as long as two submodels take, that a row's trainings may take."""
TITLES = {
    'baseline': 'labels only, baseline',
    'cosub': 'labels only, cosub',
    METHOD: '**two submodels**',
    'two submodels, one': 'one submodel',
    'two submodels, complementary': 'complementary submodels',
}
"""What the table calls an arm, where it is not the arm's name."""


def tables(records: Records) -> dict[str, str]:
    """All by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {}
    for prefix, study in (('', SCENES), ('photographs, ', PHOTOGRAPHS)):
        for count in study.counts:
            for times, suffix in ((1, ''), (LONGER, ', longer')):
                name = f'{prefix}{count}{suffix}'
                found[name] = scores(records, count, study, times)
    return {name: table for name, table in found.items() if table}


def results_of(
    records: Records, count: int, study: Study = SCENES
) -> dict[tuple[str, int], dict[int, dict]]:
    """Return results by (arm, iterations) and seed.

    Args:
        records (Records): Results.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
    """
    found: dict[tuple[str, int], dict[int, dict]] = defaultdict(dict)
    for key, run in records.runs.items():
        if type(run) is not type(study.start) or run.seed >= TEST_SEEDS:
            continue
        if getattr(run, study.labels) == count:
            found[arm_of(run), run.iterations][run.seed] = records.results[key]
    return found


def enough(
    results: dict[tuple[str, int], dict[int, dict]], length: int
) -> dict[tuple[str, int], dict[int, dict]]:
    """Return results of enough seeds that take no longer than two submodels.

    Args:
        results (dict): Results by (arm, iterations) and seed.
        length (int): Iterations of two submodels.
    """
    if (METHOD, length) not in results:
        return {}
    longest = AT_MOST * length * step_of(results, METHOD)
    return {
        (arm, iterations): runs
        for (arm, iterations), runs in results.items()
        if len(runs) >= ENOUGH and iterations * step_of(results, arm) <= longest
    }


def arm_of(run: Any) -> str:
    """Return the name of a run's arm.

    Args:
        run (UnlabelledRun | UnlabelledPhotographRun): The run.
    """
    for arm in ARMS:
        own = settings_of(arm, run.iterations)
        if _without_ramp(**own) == _without_ramp(run.scheme, run.unlabelled):
            return arm
    raise ValueError(f'{run} is of no arm.')


def _without_ramp(scheme: dict, unlabelled: dict) -> tuple[dict, dict]:
    """Settings with the same ramp: those of equal time keep that of shorter ones."""
    return scheme, {**unlabelled, 'ramp_iters': 0} if unlabelled else {}


def scores(records: Records, count: int, study: Study = SCENES, times: int = 1) -> str:
    """Return the scores of each arm, and two submodels minus it.

    Of trainings of one length, and of other arms of any length.

    Args:
        records (Records): Results.
        count (int): Labelled images.
        study (Study): Of scenes or of photographs.
        times (int): Length of trainings with unlabelled images, in those of the study.
    """
    length = times * study.start.iterations
    results = enough(results_of(records, count, study), length)
    method = results.get((METHOD, length))
    if not method:
        return ''
    shown = ((study.score, 2), ('nll', 3), ('ece', 2))
    score = {'miou': 'mIoU'}.get(study.score, study.score)
    rows = []
    order = [*ARMS]
    by_length = sorted(results, key=lambda k: (k[1] != length, order.index(k[0]), k[1]))
    for arm, iterations in by_length:
        runs = results[arm, iterations]
        if iterations != length and arm not in OTHERS:
            continue
        title = TITLES.get(arm, arm)
        if iterations != length:
            title += f', {iterations:,} iterations'
        row: list = [title, len(runs)]
        for key, digits in shown:
            row.append(cell([r['test'][key] for r in runs.values()], digits))
        for key, digits in shown[:2]:
            other = {} if runs is method else runs
            over = gain(method, other, lambda r, k=key: r['test'][k])
            row.append(cell(over, digits, True))
        rows.append([*row, f'{step_of(results, arm):.0f}'])
    columns = ('training', 'seeds', f'{score}, %', 'NLL', 'calibration error, %')
    columns += (f'two submodels minus it: {score}', 'NLL', 'step, ms')
    return rows_of(columns, rows)


def step_of(results: dict[tuple[str, int], dict[int, dict]], arm: str) -> float:
    """Return the mean time of an arm's step in milliseconds.

    That of its shortest training: longer ones may have run on another machine.

    Args:
        results (dict): Results by (arm, iterations) and seed.
        arm (str): One of ARMS.
    """
    shortest = min(iterations for name, iterations in results if name == arm)
    return fmean(run['step_ms'] for run in results[arm, shortest].values())
