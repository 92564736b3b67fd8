"""Costs of submodels: FLOPs, parameters, time."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .arithmetic import count_flops
from .network import Kept, Network

WARMUP = 1
"""Rounds that are not counted."""


@torch.inference_mode()
def submodel_work(network: Network, kept: Kept) -> dict[str, int]:
    """Return FLOPs for one image, and the backbone's parameters.

    Of what is really computed, see :func:`~mmcosub.analysis.arithmetic.count_flops`: a
    multiplication and an addition are two.

    Args:
        network (Network): The network.
        kept (frozenset[int]): The submodel's blocks.

    Returns:
        dict: ``flops``, of them ``backbone_flops``, and ``backbone_parameters``
        without those of blocks that are left out.
    """
    with network.submodel(kept):
        flops = count_flops(lambda: network.model(network.image, mode='tensor'))
        backbone_flops = count_flops(lambda: network.backbone(network.image))
    left_out = {s.block for s in network.sites if s.depth not in kept}
    saved = sum(p.numel() for block in left_out for p in block.parameters())
    total = sum(p.numel() for p in network.backbone.parameters())
    return dict(
        flops=flops,
        backbone_flops=backbone_flops,
        backbone_parameters=total - saved,
    )


@torch.inference_mode()
def time_submodels(
    network: Network,
    submodels: Sequence[Kept],
    rounds: int,
    tick: Callable[[], object] = lambda: None,
) -> list[dict[str, float]]:
    """Return the time of one image, relative to the first submodel.

    Machines are noisy, so submodels take turns within every round, and what is told is
    the median over rounds of each one's ratio to the first of the same round.

    Args:
        network (Network): The network.
        submodels (Sequence[frozenset[int]]): Their blocks; the first is the reference.
        rounds (int): How many times each is timed, 1 or more.
        tick (Callable): Called after each run. Defaults to nothing.

    Returns:
        list[dict]: Of each its median ``time_ratio``, the quartiles ``time_low`` and
        ``time_high`` of it, and the median time ``seconds``.
    """
    times = np.zeros((len(submodels), rounds))
    for i in range(-WARMUP, rounds):
        for j, kept in enumerate(submodels):
            with network.submodel(kept):
                _finish()
                start = time.perf_counter()
                network.model(network.image, mode='tensor')
                _finish()
            if i >= 0:
                times[j, i] = time.perf_counter() - start
            tick()
    results = []
    for seconds in times:
        low, median, high = np.percentile(seconds / times[0], [25, 50, 75])
        results.append(
            dict(
                time_ratio=float(median),
                time_low=float(low),
                time_high=float(high),
                seconds=float(np.median(seconds)),
            )
        )
    return results


def _finish() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
