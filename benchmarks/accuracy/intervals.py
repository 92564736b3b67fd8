"""Means, paired differences and their intervals, as cells and rows of tables.

Differences are paired: of runs with the same seed, so of the same first weights,
training images and order. Intervals are of 95 %, by Student's t.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

Value = Callable[[dict], float]
Digits = Sequence[tuple[str, int]]
"""Keys of scores, and the digits to show of each."""
PROBABILITIES: Digits = (('nll', 3), ('ece', 2))
"""What a temperature changes."""


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a mean (Student's t); nan for one value."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of equal values, and of one
        low, high = stats.ttest_1samp(values, 0).confidence_interval()
    return float(high - low) / 2


def gain(results: dict[int, dict], base: dict[int, dict], value: Value) -> list[float]:
    """Differences of the seeds that both have.

    Args:
        results (dict[int, dict]): Results of a method by seed.
        base (dict[int, dict]): Those of the one that it is compared with.
        value (Callable): Number of a result.
    """
    both = sorted(results.keys() & base.keys())
    return [value(results[seed]) - value(base[seed]) for seed in both]


def cell(values: Sequence[float], digits: int, sign: bool = False) -> str:
    """A mean with its interval, bold where a difference's leaves out 0."""
    if not values:
        return ''
    mean, half = float(np.mean(values)), half_width(values)
    text = f'{mean:{"+" if sign else ""}.{digits}f}'
    if not np.isnan(half):
        text += f' ± {half:.{digits}f}'
        if sign and abs(mean) > half:
            text = f'**{text}**'
    return text


def rows_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [columns, ['---'] * len(columns), *rows]
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in lines) + '\n'


def mean_of(results: dict[int, dict], value: Value, digits: int) -> str:
    """Mean of a value over seeds, or nothing where some run lacks it."""
    values = [value(r) for r in results.values()]
    return '' if np.isnan(values).any() else f'{np.mean(values):.{digits}f}'


def of_views(result: dict, key: str) -> float:
    """What the views did at the end of a training; no number if there were none."""
    return result['curve'][-1]['views'].get(key, np.nan)


def scaled(groups: Mapping[Any, dict[int, dict]]) -> dict[Any, dict[int, dict]]:
    """Results with logits scaled by a temperature, of the runs whose record has them.

    Args:
        groups (Mapping[Any, dict[int, dict]]): Results by name and seed.
    """
    having = {
        name: {seed: r['scaled'] for seed, r in results.items() if 'scaled' in r}
        for name, results in groups.items()
    }
    return {name: results for name, results in having.items() if results}
