"""Orders in which blocks are removed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .network import Kept

WhyNot = Callable[[Kept], str | None]
"""Function that returns why some blocks make no submodel, or None."""


def greedy_order(
    full: Kept, why_not: WhyNot, score: Callable[[Kept], float]
) -> Iterator[Kept]:
    """Yield the best submodel of each depth; ties go to the latest block removed."""
    return _descend(full, why_not, lambda options: max(options[::-1], key=score))


def random_order(
    full: Kept, why_not: WhyNot, rng: np.random.Generator
) -> Iterator[Kept]:
    """Yield a random submodel of each depth, uniformly if all blocks can go."""
    return _descend(full, why_not, lambda options: options[rng.integers(len(options))])


def _descend(
    full: Kept, why_not: WhyNot, choose: Callable[[list[Kept]], Kept]
) -> Iterator[Kept]:
    kept = full
    while True:
        smaller = [kept - {block} for block in sorted(kept)]
        options = [each for each in smaller if why_not(each) is None]
        if not options:
            return
        kept = choose(options)
        yield kept


def given_order(full: Kept, why_not: WhyNot, order: Sequence[int]) -> Iterator[Kept]:
    """Yield submodels without the user's blocks, removed one after another.

    ValueError if a block is unknown or repeated, or the rest makes no submodel.
    """
    kept = full
    for block in order:
        if block not in full:
            raise ValueError(
                f'There is no block {block} to leave out: there are {len(full)}, 0 to '
                f'{len(full) - 1}.'
            )
        if block not in kept:
            raise ValueError(f'Block {block} is given twice. Name it once.')
        kept -= {block}
        reason = why_not(kept)
        if reason:
            raise ValueError(f'Without block {block} there is no submodel: {reason}.')
        yield kept


def require_smaller(full: Kept, why_not: WhyNot) -> None:
    """Raise ValueError, with the reason for the last, if no block can be removed."""
    reasons = [why_not(full - {block}) for block in sorted(full)]
    if None not in reasons:
        raise ValueError(f'No block can be left out. Without the last: {reasons[-1]}')


def greedy_steps(full: Kept, fixed: Kept) -> int:
    """Return the maximum number of submodels that a greedy search tests."""
    free = len(full - fixed)
    return free * (free + 1) // 2 - (not fixed)
