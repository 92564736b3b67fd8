"""Confidence intervals of means, by Student's t."""

from collections.abc import Sequence

import numpy as np


def half_width(values: Sequence[float]) -> float:
    """Half-width of the 95 % confidence interval of a mean.

    Args:
        values (Sequence[float]): Independent values.

    Returns:
        float: nan of fewer than two values.
    """
    from scipy import stats  # slow to import

    if len(values) < 2:
        return float('nan')
    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def half_width_of_difference(values: Sequence[float], others: Sequence[float]) -> float:
    """Half-width of the 95 % interval of a difference (Welch's t).

    Args:
        values (Sequence[float]): Independent values.
        others (Sequence[float]): Independent values of something else, not paired.

    Returns:
        float: nan where either are fewer than two.
    """
    from scipy import stats

    if min(len(values), len(others)) < 2:
        return float('nan')
    # Squared errors of both means, and the degrees of freedom that they have together.
    parts = np.array([np.var(x, ddof=1) / len(x) for x in (values, others)])
    if not parts.any():
        return 0.0
    degrees = parts.sum() ** 2 / sum(parts**2 / [len(values) - 1, len(others) - 1])
    return float(stats.t.ppf(0.975, degrees) * np.sqrt(parts.sum()))
