"""Orders of leaving out blocks: against enumeration, as statistics, and bad ones."""

from collections import Counter

import numpy as np
import pytest

from mmcosub.analysis.sweep import (
    given_order,
    greedy_order,
    greedy_steps,
    random_order,
    require_smaller,
)

FULL = frozenset(range(4))
WORTH = {0: 5.0, 1: 1.0, 2: 3.0, 3: 1.0}


def any_but_none(kept):
    return None if kept else 'it would be empty'


def test_greedy_takes_the_best_each_time():
    tried = []

    def score(kept):
        tried.append(kept)
        return sum(WORTH[b] for b in kept)

    # 1 and 3 are worth the same: the later one goes first.
    found = [sorted(kept) for kept in greedy_order(FULL, any_but_none, score)]
    assert found == [[0, 1, 2], [0, 2], [0]]
    assert len(tried) == greedy_steps(FULL, frozenset()) == 4 + 3 + 2


def test_greedy_keeps_what_has_to_stay():
    def why_not(kept):
        return None if 1 in kept else 'block 1 stays'

    tried = []
    found = greedy_order(FULL, why_not, lambda kept: tried.append(kept) or len(kept))
    assert [sorted(kept) for kept in found] == [[0, 1, 2], [0, 1], [1]]
    assert len(tried) == greedy_steps(FULL, frozenset({1})) == 3 + 2 + 1


def test_random_submodels_are_uniform():
    rng = np.random.default_rng(0)
    pairs = Counter()
    for _ in range(3000):
        chain = list(random_order(FULL, any_but_none, rng))
        assert [len(kept) for kept in chain] == [3, 2, 1]
        assert chain[2] < chain[1] < chain[0] < FULL
        pairs[chain[1]] += 1
    assert len(pairs) == 6
    assert all(abs(n - 500) < 4 * 500**0.5 for n in pairs.values())


def test_given():
    found = given_order(FULL, any_but_none, [2, 0])
    assert [sorted(kept) for kept in found] == [[0, 1, 3], [1, 3]]


@pytest.mark.parametrize(
    ('order', 'said'),
    [
        ([4], 'no block 4 to leave out: there are 4, 0 to 3'),
        ([1, 1], 'no block 1 to leave out: .* named once each'),
        ([3, 2, 1, 0], 'Without block 0 there is no submodel: it would be empty'),
    ],
)
def test_given_nonsense(order, said):
    with pytest.raises(ValueError, match=said):
        list(given_order(FULL, any_but_none, order))


def test_nothing_can_be_left_out():
    require_smaller(FULL, any_but_none)
    with pytest.raises(ValueError, match=r'left out\. .*would be empty'):
        require_smaller(frozenset({0}), any_but_none)
