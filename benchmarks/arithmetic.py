"""How much arithmetic a call does, and in how much memory."""

from collections.abc import Callable
from math import prod
from statistics import mean, median
from typing import Any

import torch
from memory import peak_memory
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


def _addmm(_: Any, a: Any, b: Any, **kwargs: Any) -> int:
    return 2 * prod(a) * b[-1]


# PyTorch's counter does not know what adds in place.
_MORE = {aten.addmm_: _addmm, aten.baddbmm_: _addmm}


def flops(call: Callable[[], object]) -> int:
    """Number of additions and multiplications in matrix products.

    Convolutions count as the direct ones, also where a library computes them for less.

    Args:
        call (Callable): What to measure.
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        call()
    return counter.get_total_flops()


def account(call: Callable[[], object], draws: int = 1) -> tuple[float, float]:
    """Arithmetic, the mean, and peak memory, the median, over calls.

    Args:
        call (Callable): What to measure.
        draws (int): How many times, where it draws at random. Defaults to 1.
    """
    work: list[int] = []
    peaks = [peak_memory(lambda: work.append(flops(call))) for _ in range(draws)]
    return mean(work), median(peaks)
