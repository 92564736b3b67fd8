"""Short tables: those of the README, and what cosub is over what is not teaching."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from choices import COSUB, PLAIN, UNTAUGHT
from intervals import PROBABILITIES, Digits, cell, gain, rows_of
from photograph_results import compared, name_of
from photograph_stages import FEW, LONGER, as_long, chosen
from records import Records
from scene_results import AS_LONG, AT_RATE, NO_TEACHING
from scene_results import compared as compared_scenes

TITLES = ('negative log-likelihood', 'calibration error, %')
TRAININGS = (
    'plain',
    "plain with cosub's drop path",
    'two submodels that do not teach',
    'plain for as long as cosub takes',
    'cosub',
)
OTHERS = TRAININGS[:-1]
CELLS = tuple((how, by) for how in ('plain', 'cosub') for by in ('plain', 'cosub'))


def tables(records: Records) -> dict[str, str]:
    """All by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {}
    try:
        found['photographs'] = photographs(records)
        found['photographs, longer'] = photographs(records, LONGER)
        found['scenes'] = scenes(records)
        found['leads'] = leads(records)
    except KeyError:  # a run that is needed has no record yet
        pass
    return found


def photographs(records: Records, regime: str = FEW) -> str:
    """Plain training, what is not teaching in cosub, and cosub.

    Args:
        records (Records): Results.
        regime (str): Training images and length.
    """
    columns = ('training', 'accuracy, %', *TITLES)
    of = _of_photographs(records, regime)
    named = {(name,): results for name, results in of.items()}
    return _table(columns, named, (('accuracy', 2), *PROBABILITIES))


def scenes(records: Records) -> str:
    """The Swin on scenes: backbone and segmentation, each plain and by cosub.

    Args:
        records (Records): Results.
    """
    results = compared_scenes(records, 'swin')
    named = {key: results[key] for key in CELLS}
    columns = ('backbone', 'segmentation', 'mIoU, %', *TITLES)
    return _table(columns, named, (('miou', 2), *PROBABILITIES))


def leads(records: Records) -> str:
    """Cosub over each of the others, of the same seeds; scenes from plain backbones.

    Args:
        records (Records): Results.
    """
    longer = _of_photographs(records, LONGER)
    rows = []
    for what, results, score, title in (
        ('photographs, ViT', _of_photographs(records), 'accuracy', 'accuracy, %'),
        ('three times as long', longer, 'accuracy', 'accuracy, %'),
        ('scenes, Swin', _of_scenes(records, 'swin'), 'miou', 'mIoU, %'),
        ('scenes, ViT', _of_scenes(records, 'vit'), 'miou', 'mIoU, %'),
    ):
        cosub = results.pop('cosub')
        for key, digits, of in ((score, 2, title), ('nll', 3, 'NLL')):
            row = {'': what, 'cosub over': of, **dict.fromkeys(OTHERS, 'as plain')}
            for name, other in results.items():
                over = gain(cosub, other, lambda r, key=key: r['test'][key])
                row[name] = cell(over, digits, True)
            rows.append(row)
    return rows_of(list(rows[0]), [list(row.values()) for row in rows])


def _of_photographs(records: Records, regime: str = FEW) -> dict[str, dict[int, dict]]:
    """Results by TRAININGS; without plain training at cosub's rate if that is plain."""
    plain, cosub = (chosen(records, scheme, regime) for scheme in (PLAIN, COSUB))
    runs = (
        plain,
        replace(cosub, scheme=PLAIN),
        replace(cosub, scheme=UNTAUGHT),
        as_long(records, regime),
        cosub,
    )
    results = compared(records, regime)
    return {
        name: results[name_of(run, regime)]
        for run, name in zip(runs, TRAININGS, strict=True)
        if name == TRAININGS[0] or run != plain
    }


def _of_scenes(records: Records, network: str) -> dict[str, dict[int, dict]]:
    results = compared_scenes(records, network)
    ways = ('plain', AT_RATE, NO_TEACHING, AS_LONG, 'cosub')
    return {k: results['plain', way] for k, way in zip(TRAININGS, ways, strict=True)}


def _table(
    columns: tuple[str, ...],
    named: Mapping[tuple[str, ...], dict[int, dict]],
    shown: Digits,
) -> str:
    """Rows of means; behind them, differences from the first row."""
    base = next(iter(named.values()))
    rows = []
    for names, results in named.items():
        row = list(names)
        for key, digits in shown:
            mean = fmean(r['test'][key] for r in results.values())
            over = gain(results, base, lambda r, key=key: r['test'][key])
            change = '' if results is base else f' ({cell(over, digits, True)})'
            row.append(f'{mean:.{digits}f}{change}')
        rows.append(row)
    return rows_of(columns, rows)
