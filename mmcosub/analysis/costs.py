"""Costs of submodels: FLOPs, parameters, time."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from .arithmetic import count_flops
from .network import Kept, Network

WARMUP = 1
"""Number of warm-up rounds."""


@torch.inference_mode()
def submodel_work(network: Network, kept: Kept) -> dict[str, int]:
    """Return FLOPs for one image, and the backbone's parameters.

    Counts what is really computed, see
    :func:`~mmcosub.analysis.arithmetic.count_flops`; a multiply-add counts as two.

    Returns:
        dict: ``flops``, ``backbone_flops`` and ``backbone_parameters``, without removed
        blocks.
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

    Timings are noisy, so submodels alternate within a round. The result is the median
    over rounds of the ratio to the first submodel of the same round.

    Args:
        network (Network): The network.
        submodels (Sequence[frozenset[int]]): Blocks of each submodel; the first is the
            reference.
        rounds (int): Number of timings of each, 1 or more.
        tick (Callable): Called after each timing. Defaults to nothing.

    Returns:
        list[dict]: For each, the median ``time_ratio``, its quartiles ``time_low`` and
        ``time_high``, and the median time ``seconds``.
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
