"""Short tables: those of the README, and what cosub is over what is not teaching."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from choices import COSUB, PLAIN, UNTAUGHT, as_long_as
from intervals import PROBABILITIES, Digits, cell, gain, rows_of
from photograph_results import compared, name_of
from photograph_stages import SEEDS, chosen
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
CELLS = tuple((how, by) for how in ('plain', 'cosub') for by in ('plain', 'cosub'))


def tables(records: Records) -> dict[str, str]:
    """All by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {}
    try:
        found['photographs'] = photographs(records)
        found['scenes'] = scenes(records)
        found['leads'] = leads(records)
    except KeyError:  # a run that is needed has no record yet
        pass
    return found


def photographs(records: Records) -> str:
    """Plain training, what is not teaching in cosub, and cosub.

    Args:
        records (Records): Results.
    """
    columns = ('training', 'accuracy, %', *TITLES)
    named = {(name,): results for name, results in _of_photographs(records).items()}
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
    titles, columns = [], []
    for what, results, score, title in (
        ('photographs, ViT', _of_photographs(records), 'accuracy', 'accuracy, %'),
        ('scenes, Swin', _of_scenes(records, 'swin'), 'miou', 'mIoU, %'),
        ('scenes, ViT', _of_scenes(records, 'vit'), 'miou', 'mIoU, %'),
    ):
        cosub = results.pop('cosub')
        for key, digits, of in ((score, 2, title), ('nll', 3, 'NLL')):
            over = (
                gain(cosub, other, lambda r, key=key: r['test'][key])
                for other in results.values()
            )
            titles.append(f'{what}: {of}')
            columns.append([cell(values, digits, True) for values in over])
    rows = [[name, *cells] for name, *cells in zip(results, *columns, strict=True)]
    return rows_of(('cosub over', *titles), rows)


def _of_photographs(records: Records) -> dict[str, dict[int, dict]]:
    plain, cosub = (chosen(records, scheme) for scheme in (PLAIN, COSUB))
    runs = (
        plain,
        replace(cosub, scheme=PLAIN),
        replace(cosub, scheme=UNTAUGHT),
        as_long_as(records, plain, cosub, SEEDS),
        cosub,
    )
    results = compared(records)
    return {k: results[name_of(v)] for k, v in zip(TRAININGS, runs, strict=True)}


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
