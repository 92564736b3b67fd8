"""Accuracy and cost of a network's submodels, by number of blocks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .costs import WARMUP, submodel_work, time_submodels
from .evaluation import Evaluation, Ticker
from .network import Kept, Network

WhyNot = Callable[[Kept], str | None]
"""Function that returns why some blocks make no submodel, or None."""


@dataclass
class Settings:
    """Settings of a sweep: as the flags of the tool, ``given`` is ``--drop``."""

    orders: Sequence[str] = ('greedy', 'random')
    draws: int = 4
    given: Sequence[int] = ()
    depths: Sequence[int] | None = None
    rounds: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if 'random' in self.orders and self.draws < 1:
            raise ValueError(f'--draws must be 1 or more, not {self.draws}.')
        if ('given' in self.orders) != bool(self.given):
            raise ValueError(
                "The order 'given' goes with --drop, the blocks to leave out one "
                'after another: give both.'
            )
        if self.rounds < 0:
            raise ValueError(f'--rounds must be 0 or more, not {self.rounds}.')
        if self.depths and min(self.depths) < 1:
            raise ValueError(
                f'--depths {min(self.depths)}: a submodel of no block would be empty. '
                'Keep one block at least.'
            )


@dataclass
class Point:
    """Submodel of a network: its order and, if random, the draw; blocks; metrics."""

    network: str
    order: str
    draw: int
    kept: list[int]
    metrics: dict[str, float]
    cost: dict[str, float] = field(default_factory=dict)


def sweep(
    network: Network,
    name: str,
    settings: Settings,
    test: Evaluation,
    search: Evaluation,
    why_not: WhyNot,
    ticker: Ticker,
) -> list[Point]:
    """Test the full network and submodels, greedy ones found with ``search``."""
    full, depths = network.full, settings.depths
    tested: dict[Kept, dict[str, float]] = {}
    points = []
    times = {'random': settings.draws}
    runs = [(o, draw) for o in settings.orders for draw in range(times.get(o, 1))]
    for order, draw in runs:
        if order == 'greedy':
            steps = greedy_steps(full, network.fixed)
            with ticker(f'{name}: search', steps * search.images) as tick:

                def score(kept: Kept, tick: Callable[[int], object] = tick) -> float:
                    with network.submodel(kept):
                        return search.score(tick)

                smaller = [*greedy_order(full, why_not, score)]
        elif order == 'random':
            rng = np.random.default_rng([settings.seed, draw])
            smaller = [*random_order(full, why_not, rng)]
        else:
            smaller = [*given_order(full, why_not, settings.given)]
        wanted = [full, *(k for k in smaller if depths is None or len(k) in depths)]
        untested = [kept for kept in wanted if kept not in tested]
        label = f'{name}: {order}' + f' {draw + 1}' * (order == 'random')
        with ticker(label, len(untested) * test.images) as tick:
            for kept in untested:
                with network.submodel(kept):
                    tested[kept] = test(tick)
        points += [Point(name, order, draw, sorted(k), tested[k]) for k in wanted]
    return points


def add_costs(
    points: Sequence[Point], network: Network, rounds: int, ticker: Ticker
) -> None:
    """Set the costs of the submodels, with any weights; 0 rounds give no time."""
    submodels = sorted({frozenset(p.kept) for p in points}, key=len, reverse=True)
    costs: dict[Kept, dict] = {kept: submodel_work(network, kept) for kept in submodels}
    if rounds:
        with ticker('time', len(submodels) * (rounds + WARMUP)) as tick:
            times = time_submodels(network, submodels, rounds, lambda: tick(1))
        for kept, measured in zip(submodels, times, strict=True):
            costs[kept] |= measured
    for point in points:
        point.cost = costs[frozenset(point.kept)]


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
    while options := [k for b in sorted(kept) if not why_not(k := kept - {b})]:
        kept = choose(options)
        yield kept


def given_order(full: Kept, why_not: WhyNot, order: Sequence[int]) -> Iterator[Kept]:
    """Yield submodels without the user's blocks, removed one after another."""
    kept = full
    for block in order:
        if block not in kept:
            raise ValueError(
                f'There is no block {block} to leave out: there are {len(full)}, 0 to '
                f'{len(full) - 1}, to be named once each.'
            )
        kept -= {block}
        if reason := why_not(kept):
            raise ValueError(f'Without block {block} there is no submodel: {reason}.')
        yield kept


def require_smaller(full: Kept, why_not: WhyNot) -> None:
    """Raise ValueError, with the reason for the last, if no block can be removed."""
    reasons = [why_not(full - {block}) for block in sorted(full)]
    if None not in reasons:
        raise ValueError(f'No block can be left out. Without the last: {reasons[-1]}')


def greedy_steps(full: Kept, fixed: Kept) -> int:
    """Return the largest number of submodels that a greedy search tests."""
    free = len(full - fixed)
    return free * (free + 1) // 2 - (not fixed)
