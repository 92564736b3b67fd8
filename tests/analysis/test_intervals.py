"""Intervals of means, against numbers worked out by hand."""

import math

import pytest

from mmcosub.analysis.intervals import half_width, half_width_of_difference


def test_of_a_mean() -> None:
    # Mean 2, deviation 1, n = 3: t(0.975, 2) = 4.3027.
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert half_width([5.0, 5.0]) == 0
    assert math.isnan(half_width([1.0]))


def test_of_a_difference() -> None:
    # As spread and as many: the degrees of freedom are 4, t is 2.7764.
    found = half_width_of_difference([1.0, 2.0, 3.0], [11.0, 12.0, 13.0])
    assert found == pytest.approx(2.7764 * (2 / 3) ** 0.5, rel=1e-4)
    # One not spread at all: those of the other, 2.
    found = half_width_of_difference([1.0, 2.0, 3.0], [5.0, 5.0])
    assert found == pytest.approx(4.3027 / 3**0.5, rel=1e-4)
    assert half_width_of_difference([1.0, 1.0], [5.0, 5.0]) == 0
    assert math.isnan(half_width_of_difference([1.0], [5.0, 6.0]))
