"""The two short tables of the README: means, and what they are over plain training."""

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean

from choices import COSUB, PLAIN, UNTAUGHT, as_long_as
from intervals import PROBABILITIES, Digits, cell, gain, rows_of
from photograph_results import compared, name_of
from photograph_stages import SEEDS, chosen
from records import Records
from scene_results import compared as compared_scenes

TITLES = ('negative log-likelihood', 'calibration error, %')
CELLS = tuple((how, by) for how in ('plain', 'cosub') for by in ('plain', 'cosub'))


def tables(records: Records) -> dict[str, str]:
    """Both by name, as far as there are records.

    Args:
        records (Records): Results.
    """
    found = {}
    try:
        found['photographs'] = photographs(records)
        found['scenes'] = scenes(records)
    except KeyError:  # a run that is needed has no record yet
        pass
    return found


def photographs(records: Records) -> str:
    """Plain training, what is not teaching in cosub, and cosub.

    Args:
        records (Records): Results.
    """
    plain, cosub = (chosen(records, scheme) for scheme in (PLAIN, COSUB))
    runs = {
        'plain': plain,
        "plain with cosub's drop path": replace(cosub, scheme=PLAIN),
        'two submodels that do not teach': replace(cosub, scheme=UNTAUGHT),
        'plain for as long as cosub takes': as_long_as(records, plain, cosub, SEEDS),
        'cosub': cosub,
    }
    results = compared(records)
    named = {(label,): results[name_of(run)] for label, run in runs.items()}
    shown = (('accuracy', 2), *PROBABILITIES)
    return _table(('training', 'accuracy, %', *TITLES), named, shown)


def scenes(records: Records) -> str:
    """The Swin on scenes: backbone and segmentation, each plain and by cosub.

    Args:
        records (Records): Results.
    """
    results = compared_scenes(records, 'swin')
    named = {key: results[key] for key in CELLS}
    columns = ('backbone', 'segmentation', 'mIoU, %', *TITLES)
    return _table(columns, named, (('miou', 2), *PROBABILITIES))


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
