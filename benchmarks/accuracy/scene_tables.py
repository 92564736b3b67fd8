"""The tables of scenes. Scores are of the test scenes."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from statistics import fmean

from curves import Shown
from intervals import PROBABILITIES, Digits, cell, mean_of, of_views, rows_of, scaled
from records import Records
from scene_results import (
    AS_LONG,
    AT_RATE,
    NO_DISTILLATION,
    STUDIED,
    TRAININGS,
    Cells,
    Results,
    compared,
    results_of,
)
from scene_stages import PRETRAINED, scene_rates

SCORES: Digits = (('miou', 2), ('accuracy', 2), *PROBABILITIES)
TITLES = dict(
    miou='mIoU, %', accuracy='pixel accuracy, %', nll='NLL', ece='calibration error, %'
)
CURVES: tuple[Shown, ...] = (
    ('miou', 'mIoU on validation scenes, %', (None, None)),
    ('nll', 'negative log-likelihood there', (None, None)),
)
Pair = tuple[tuple[str, str], tuple[str, str]]
DRAWN = (
    ('scratch', 'plain'),
    ('plain', 'plain'),
    ('plain', NO_DISTILLATION),
    ('plain', 'cosub'),
    ('cosub', 'cosub'),
)


def in_order(cells: Cells) -> Cells:
    """The cells of the experiment that have results, as the tables list them."""
    keys = [(start, training) for start in PRETRAINED for training in STUDIED]
    return {key: cells[key] for key in keys if cells.get(key)}


def scores(cells: Cells, shown: Digits = SCORES) -> str:
    """Scores of each cell."""
    rows = []
    for (start, training), results in in_order(cells).items():
        values = [
            cell([r['test'][key] for r in results.values()], digits)
            for key, digits in shown
        ]
        rows.append([start, training, len(results), *values])
    titles = (TITLES[key] for key, _ in shown)
    return rows_of(('pretraining', 'segmentation', 'seeds', *titles), rows)


def differences(cells: Cells, shown: Digits = SCORES) -> str:
    """What cosub changes in segmentation, in pretraining, and in both."""
    plain, cosub = ('plain', 'plain'), ('plain', 'cosub')
    of_training = {start: ((start, 'cosub'), (start, 'plain')) for start in PRETRAINED}
    of_start = {way: (('cosub', way), ('plain', way)) for way in TRAININGS}
    both = ('cosub', 'cosub')
    rows: list[tuple[str, list[Pair]]] = [
        *((f'cosub in segmentation, {s}', [pair]) for s, pair in of_training.items()),
        ('cosub in segmentation, mean of these', [*of_training.values()]),
        *((f'cosub in pretraining, {way}', [pair]) for way, pair in of_start.items()),
        ('cosub in pretraining, mean of these', [*of_start.values()]),
        ('cosub in both', [(both, plain)]),
        ('pretraining at all, plain', [(plain, ('scratch', 'plain'))]),
        ('distillation itself, plain', [(cosub, ('plain', NO_DISTILLATION))]),
        ("over baseline at cosub's rate", [(cosub, ('plain', AT_RATE))]),
        ('over compute-matched baseline', [(cosub, ('plain', AS_LONG))]),
        ('both, over two views, no distillation', [(both, ('plain', NO_DISTILLATION))]),
        ('both, over compute-matched baseline', [(both, ('plain', AS_LONG))]),
    ]
    found = [
        [name, *(cell(gains(cells, pairs, key), d, True) for key, d in shown)]
        for name, pairs in rows
    ]
    titles = (TITLES[key] for key, _ in shown)
    return rows_of(('what changes', *titles), [row for row in found if row[1]])


def relatives(cells: Cells, shown: Digits = (('miou', 2), ('nll', 3))) -> str:
    """Cosub's relatives, over plain training and over cosub from the same backbones."""
    rows = []
    others = {key: runs for key, runs in cells.items() if key[1] not in STUDIED}
    for key, results in others.items():
        row: list = [key[1], len(results)]
        for score, digits in shown:
            row.append(cell([r['test'][score] for r in results.values()], digits))
            for base in TRAININGS:
                found = gains(cells, [(key, (key[0], base))], score)
                row.append(cell(found, digits, True))
        step = fmean(
            result['step_ms'] / cells[key[0], 'plain'][seed]['step_ms']
            for seed, result in results.items()
        )
        rows.append([*row, f'{step:.2f}'])
    columns = ['scheme', 'seeds']
    for score, _ in shown:
        columns += [TITLES[score], *(f'over {base}' for base in TRAININGS)]
    return rows_of((*columns, 'step, baseline 1'), rows)


def gains(cells: Cells, pairs: Sequence[Pair], key: str) -> list[float]:
    """Differences of a test score, the mean over pairs, of the seeds that all have.

    Args:
        cells (dict): Results of the cells by seed.
        pairs (Sequence[tuple]): Cells, each with the one that it is compared with.
        key (str): The score.
    """
    seeds = set.intersection(*({*cells.get(c, ())} for pair in pairs for c in pair))
    return [
        fmean(cells[a][s]['test'][key] - cells[b][s]['test'][key] for a, b in pairs)
        for s in sorted(seeds)
    ]


def causes(cells: Cells) -> str:
    """Training against validation, and what the views did."""
    rows = []
    for (start, training), results in in_order(cells).items():
        mean = partial(mean_of, results)
        rows.append(
            [
                start,
                training,
                mean(lambda r: r['training']['miou'], 1),
                mean(lambda r: r['training']['nll'], 3),
                mean(lambda r: r['validation']['miou'], 1),
                mean(lambda r: r['validation']['nll'], 3),
                mean(lambda r: 100 * of_views(r, 'agreement'), 1),
            ]
        )
    columns = (
        'pretraining',
        'segmentation',
        'mIoU on training scenes, %',
        'NLL there',
        'on validation scenes, %',
        'NLL there',
        'agreement of views, %',
    )
    return rows_of(columns, rows)


def choices(runs: Results) -> str:
    """Validation scores of the runs that chose the drop-path rates."""
    rows = [
        [
            TRAININGS[bool(run.scheme)],
            f'{run.rate:g}',
            *(f'{result["validation"][key]:.{digits}f}' for key, digits in SCORES),
            ' '.join(f'{point["miou"]:.1f}' for point in result['curve']),
            f'{result["step_ms"]:.0f}',
        ]
        for run, result in runs
    ]
    columns = (
        'segmentation',
        'drop path',
        *TITLES.values(),
        'mIoU over training',
        'step, ms',
    )
    return rows_of(columns, rows)


def pretraining(cells: Cells) -> str:
    """What pretraining came to, on other pictures.

    Args:
        cells (dict): Results of the cells by seed.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for (start, _), results in in_order(cells).items():
        if start != 'scratch':
            found[start] += [r['pretraining'] for r in results.values()]
    rows = [[start, f'{fmean(values):.1f}'] for start, values in found.items()]
    return rows_of(('pretraining', 'pictures classified right, %'), rows)


def tables(records: Records, network: str) -> dict[str, str]:
    """All tables of a network by name, as far as there are records.

    Args:
        records (Records): Results.
        network (str): One of NETWORKS.
    """
    chosen = results_of(records, network, test=False)
    if not chosen:
        return {}
    first = {'choices': choices(chosen)}
    if any(run not in records for run in scene_rates(records, network)):
        return first
    cells = compared(records, network)
    tempered = scaled(cells)
    return first | {
        'scores': scores(cells),
        'differences': differences(cells),
        'scaled': scores(tempered, PROBABILITIES),
        'scaled differences': differences(tempered, PROBABILITIES),
        'causes': causes(cells),
        'relatives': relatives(cells),
        'pretraining': pretraining(cells),
    }
