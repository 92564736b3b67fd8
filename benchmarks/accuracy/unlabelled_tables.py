"""The tables of trainings with unlabelled scenes. Scores are of the test scenes."""

from collections import defaultdict
from statistics import fmean

from intervals import Digits, cell, gain, rows_of
from records import Records
from settings import TEST_SEEDS, UnlabelledRun
from unlabelled_stages import ARMS, COUNTS, LABELS_ONLY, LONGER, of_length

METHOD = 'two submodels'
ENOUGH = 3
"""Seeds that a row needs."""
SHOWN: Digits = (('miou', 2), ('nll', 3), ('ece', 2))
LENGTH = UnlabelledRun('', 0).iterations
TITLES = {
    'baseline': 'labels only, baseline',
    'cosub': 'labels only, cosub',
    METHOD: '**two submodels**',
}
"""What the table calls an arm, where it is not the arm's name."""


def tables(records: Records) -> dict[str, str]:
    """All by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {str(count): scores(records, count) for count in COUNTS}
    longer = LONGER * LENGTH
    found |= {f'{n}, longer': scores(records, n, longer) for n in COUNTS}
    return {name: table for name, table in found.items() if table}


def results_of(records: Records, count: int) -> dict[tuple[str, int], dict[int, dict]]:
    """Return results by (arm, iterations) and seed.

    Args:
        records (Records): Results.
        count (int): Labelled scenes.
    """
    found: dict[tuple[str, int], dict[int, dict]] = defaultdict(dict)
    for key, run in records.runs.items():
        if not isinstance(run, UnlabelledRun) or run.seed >= TEST_SEEDS:
            continue
        if run.scenes == count:
            found[arm_of(run), run.iterations][run.seed] = records.results[key]
    return found


def arm_of(run: UnlabelledRun) -> str:
    """Return the name of a run's arm.

    Args:
        run (UnlabelledRun): The run.
    """
    for name, settings in ARMS.items():
        unlabelled = of_length(settings.get('unlabelled', {}), run.iterations)
        if (run.scheme, run.unlabelled) == (settings['scheme'], unlabelled):
            return name
    raise ValueError(f'{run} is of no arm.')


def scores(records: Records, count: int, length: int = LENGTH) -> str:
    """Return the scores of each arm, and two submodels minus it.

    Of trainings of one length, and of those with labels only of any length.

    Args:
        records (Records): Results.
        count (int): Labelled scenes.
        length (int): Iterations with unlabelled scenes. Defaults to those of the study.
    """
    results = results_of(records, count)
    method = results.get((METHOD, length))
    if not method:
        return ''
    rows = []
    order = [*ARMS]
    by_length = sorted(results, key=lambda k: (k[1] != length, order.index(k[0]), k[1]))
    for arm, iterations in by_length:
        runs = results[arm, iterations]
        if len(runs) < ENOUGH or (iterations != length and arm not in LABELS_ONLY):
            continue
        title = TITLES.get(arm, arm)
        if iterations != length:
            title += f', {iterations:,} iterations'
        row: list = [title, len(runs)]
        for key, digits in SHOWN:
            row.append(cell([r['test'][key] for r in runs.values()], digits))
        for key, digits in SHOWN[:2]:
            other = {} if runs is method else runs
            over = gain(method, other, lambda r, k=key: r['test'][k])
            row.append(cell(over, digits, True))
        rows.append([*row, f'{fmean(r["step_ms"] for r in runs.values()):.0f}'])
    columns = ('training', 'seeds', 'mIoU, %', 'NLL', 'calibration error, %')
    columns += ('two submodels minus it: mIoU', 'NLL', 'step, ms')
    return rows_of(columns, rows)
