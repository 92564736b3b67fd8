"""Subnets of the first blocks of each stage.

Shapes: ``L`` branches, ``S`` stages.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .branches import Site

Depths = NDArray[np.int64]


def stage_depths(sites: Sequence[Site]) -> Depths:
    """Return the number of blocks of every stage, of shape (S, ).

    Args:
        sites (Sequence[Site]): The backbone's branches.
    """
    stages, numbers = _places(sites)
    return np.array([1 + numbers[stages == s].max() for s in range(stages.max() + 1)])


def keep_first_blocks(sites: Sequence[Site], depths: Depths) -> NDArray[np.bool_]:
    """Return a mask of the branches in a subnet of given depths, of shape (L, ).

    Args:
        sites (Sequence[Site]): The backbone's branches.
        depths (ndarray): Number of blocks of every stage, of shape (S, ).
    """
    stages, numbers = _places(sites)
    return numbers < depths[stages]


def draw_depths(full: Depths, rng: np.random.Generator) -> Depths:
    """Draw the depth of every stage, uniform on 1 to all (arXiv 2210.04153).

    Args:
        full (ndarray): Number of blocks of every stage, of shape (S, ).
        rng (Generator): Source of all randomness.
    """
    return rng.integers(1, full + 1)


def draw_nested(depths: Depths, decay: float, rng: np.random.Generator) -> Depths:
    """Draw a subnet inside another: as many blocks of every stage, or fewer.

    The number of blocks ``k`` that a stage loses, 0 to all but one, has a probability
    proportional to ``decay ** k``, so larger subnets are drawn more often. If no stage
    loses a block, one stage loses one where possible. This is our reading of
    "inheriting exponential decay" in arXiv 2308.13772, which does not give the formula.

    Args:
        depths (ndarray): Number of blocks of every stage of the outer subnet, of
            shape (S, ).
        decay (float): Base of the decay, in (0, 1].
        rng (Generator): Source of all randomness.

    Returns:
        ndarray: Number of blocks of every stage, of shape (S, ).
    """
    lost = np.array([_draw_lost(int(depth), decay, rng) for depth in depths])
    if not lost.any() and (depths > 1).any():
        lost[rng.choice(np.flatnonzero(depths > 1))] = 1
    return depths - lost


def _draw_lost(depth: int, decay: float, rng: np.random.Generator) -> int:
    weights = decay ** np.arange(depth)
    return int(rng.choice(depth, p=weights / weights.sum()))


def _places(sites: Sequence[Site]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the stage of every branch and the index of its block in the stage."""
    stages: dict[str, dict[str, int]] = {}
    places = []
    for site in sites:
        blocks = stages.setdefault(site.stage, {})
        number = blocks.setdefault(site.name, len(blocks))
        places.append((list(stages).index(site.stage), number))
    stage, number = np.array(places).T
    return stage, number
