"""Drawing submodels: which view of which sample keeps which branch.

Shapes: ``L`` branches, ``V`` views, ``B`` samples.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .class_table import ClassTable

SAMPLERS = ClassTable('sampler')


class Sampler(Protocol):
    """Draws, for one view, which samples keep which branches."""

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Draw one view.

        Args:
            rates (ndarray): Drop-path rates in [0, 1), of shape (L, ).
            batch (int): Number of samples B.
            rng (Generator): Source of all randomness.

        Returns:
            ndarray: True where the branch is kept, of shape (L, B).
        """


@SAMPLERS.register_module()
class BernoulliSampler:
    """Every sample keeps every branch with probability 1 - rate, independently.

    DropPath's own distribution, at every batch size (cosub, arXiv 2212.04884, which
    uses ordinary DropPath).
    """

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """See :class:`Sampler`."""
        return rng.random((len(rates), batch)) >= rates[:, None]


@SAMPLERS.register_module()
class StratifiedSampler:
    """Every branch is kept by as near B(1 - rate) samples as whole numbers allow.

    The number of kept samples is ``B(1 - rate)`` rounded down or up at random so that
    its mean is exact, and which ones is uniform. So each sample keeps each branch with
    probability exactly ``1 - rate``, at batch 1 too, and the work varies less from one
    iteration to the next than with :class:`BernoulliSampler`. Views stay independent
    of one another; samples of one view do not. Ours: DINOv2's rounding to at least one
    and to whole samples is biased at small batches.

    Args:
        fixed (bool): Whether the number is the same in every iteration. With
            ``execution='kept_rows'`` all shapes are constant then, for what is made
            for shapes (``cudnn_benchmark``, CUDA graphs) and for equal work on all
            ranks. Only where ``B(1 - rate)`` is whole for every branch, as rounding
            would be biased. Defaults to False.

    Raises:
        ValueError: When it draws, if ``fixed`` and the batch do not go together.
    """

    def __init__(self, fixed: bool = False) -> None:
        self.fixed = fixed

    def __call__(
        self, rates: NDArray[np.float64], batch: int, rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """See :class:`Sampler`."""
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
    """Random numbers of one iteration on one rank.

    They are a function of the arguments: a run resumed at any iteration, on any number
    of ranks, draws what an unbroken one would have. ``SeedSequence`` keeps generators
    of any other arguments apart.

    Args:
        seed (int): Seed of the run.
        iteration (int): Number of plans drawn before this one.
        rank (int): Rank of the process. Defaults to 0.
        stream (int): What they are for: 0 for plans, others for further draws of the
            iteration. Defaults to 0.
    """
    key = (rank, iteration, stream)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def spread_rates(
    rate: float, depths: list[int], decay: str = 'constant'
) -> NDArray[np.float64]:
    """Drop-path rate of every branch, from one rate for the network.

    Args:
        rate (float): Rate in [0, 1); the last block's, if it decays.
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
