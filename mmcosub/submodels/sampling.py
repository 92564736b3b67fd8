"""Random draws of submodels: the branches that each view of each sample keeps.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``S`` stages.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .branches import Site
from .class_table import ClassTable

SAMPLERS = ClassTable('sampler')

Depths = NDArray[np.int64]
"""Number of blocks of every stage, of shape (S, )."""


class Sampler(Protocol):
    """Function that draws the branches that each sample of a view keeps."""

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draw one view: True where a branch is kept, of shape (L, B).

        The drop-path rates are in [0, 1), of shape (L, ).
        """


@SAMPLERS.register_module()
class BernoulliSampler:
    """Sampler by which each sample keeps each branch independently, as in DropPath.

    The probability is 1 - rate. Cosub (arXiv 2212.04884) uses ordinary DropPath.
    """

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        return rng.random((len(rates), batch)) >= rates[:, None]


@SAMPLERS.register_module()
class StratifiedSampler:
    """Sampler by which B(1 - rate) samples keep each branch, rounded at random.

    ``B(1 - rate)`` is rounded down or up so that its mean is exact, and the samples are
    drawn uniformly. So each sample keeps each branch with probability exactly
    ``1 - rate``, also at batch size 1, and the work varies less between iterations than
    with :class:`BernoulliSampler`. Views are independent of one another; samples of one
    view are not. Not in the paper; DINOv2's rounding, to one sample at least, is biased
    at small batch sizes.

    Args:
        fixed (bool): If True, the number is the same in every iteration, and with
            ``execution='kept_rows'`` all shapes are constant, for ``cudnn_benchmark``,
            CUDA graphs and equal work on all ranks. ``B(1 - rate)`` must be whole for
            every branch, since rounding would be biased. Defaults to False.

    Raises:
        ValueError: When drawing with ``fixed``, if ``B(1 - rate)`` is not whole.
    """

    def __init__(self, fixed: bool = False) -> None:
        self.fixed = fixed

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        expected = batch * (1 - rates)
        if self.fixed:
            kept = np.rint(expected)
            odd = ~np.isclose(kept, expected)
            if odd.any():
                raise ValueError(
                    f'StratifiedSampler(fixed=True) cannot keep a branch of rate '
                    f'{rates[odd][0]:g} for {expected[odd][0]:g} of {batch} samples: '
                    'batch size times (1 - rate) must be whole for every branch. '
                    'Change the batch size, the rate or decay, set drop_last=True if '
                    'it is the last batch, or use fixed=False.'
                )
        else:
            kept = np.floor(expected + rng.random(len(rates)))
        rank = rng.random((len(rates), batch)).argsort(axis=1).argsort(axis=1)
        return rank < kept[:, None]


def plan_generator(
    seed: int, iteration: int, rank: int = 0, stream: int = 0
) -> np.random.Generator:
    """Return the random generator of one iteration on one rank, by its arguments alone.

    ``iteration`` is the number of plans drawn before; ``stream`` is 0 for plans.
    """
    key = (rank, iteration, stream)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def spread_rates(
    rate: float, depths: list[int], decay: str = 'constant'
) -> NDArray[np.float64]:
    """Return the drop-path rate of every branch, from one rate for the network.

    Args:
        rate (float): Rate in [0, 1); with decay, the last block's.
        depths (list[int]): Position of each branch's block, from 0, of length L.
        decay (str): 'constant' over depth (cosub's choice for networks without
            pooling) or 'linear' from 0 at the first block (the usual stochastic
            depth rule, cosub's choice for pyramids). Defaults to 'constant'.

    Returns:
        ndarray: Of shape (L, ).

    Raises:
        ValueError: If the rate or the decay is not one of these.
    """
    if not 0 <= rate < 1:
        raise ValueError(f'The drop-path rate must be in [0, 1), not {rate}.')
    if decay == 'constant':
        return np.full(len(depths), float(rate))
    if decay == 'linear':
        return rate * np.array(depths, dtype=np.float64) / max(max(depths), 1)
    raise ValueError(
        f"Unknown drop-path decay {decay!r}. Valid ones are 'constant' and 'linear'."
    )


# ---- subnets of the first blocks of each stage --------------------------------------


def stage_depths(sites: Sequence[Site]) -> Depths:
    """Return the number of blocks of every stage of a backbone."""
    stages, numbers = _places(sites)
    return np.array([1 + numbers[stages == s].max() for s in range(stages.max() + 1)])


def keep_first_blocks(sites: Sequence[Site], depths: Depths) -> NDArray[np.bool_]:
    """Return a mask of the branches in each stage's first blocks, of shape (L, )."""
    stages, numbers = _places(sites)
    return numbers < depths[stages]


def draw_depths(full: Depths, rng: np.random.Generator) -> Depths:
    """Draw the depth of every stage, uniform on 1 to all (arXiv 2210.04153)."""
    return rng.integers(1, full + 1)


def draw_nested(depths: Depths, decay: float, rng: np.random.Generator) -> Depths:
    """Draw a subnet inside another: as many blocks of every stage, or fewer.

    A stage loses ``k`` blocks, 0 to all but one, with a probability proportional to
    ``decay ** k``; if none loses any, one loses one. This is our reading of "inheriting
    exponential decay" in arXiv 2308.13772, which does not give the formula.
    """
    weights = [decay ** np.arange(depth) for depth in depths]
    lost = np.array([rng.choice(len(w), p=w / w.sum()) for w in weights])
    if not lost.any() and (depths > 1).any():
        lost[rng.choice(np.flatnonzero(depths > 1))] = 1
    return depths - lost


def _places(sites: Sequence[Site]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stage of every branch and the index of its block in the stage."""
    blocks: dict[str, dict[str, int]] = {}
    for site in sites:
        of_stage = blocks.setdefault(site.stage, {})
        of_stage.setdefault(site.name, len(of_stage))
    stages = {name: number for number, name in enumerate(blocks)}
    places = [(stages[s.stage], blocks[s.stage][s.name]) for s in sites]
    stage, number = np.array(places).T
    return stage, number
