"""How much arithmetic a call does."""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten


def _addmm(_: Any, a: Any, b: Any, **kwargs: Any) -> int:
    return 2 * prod(a) * b[-1]


# PyTorch's counter does not know what adds in place.
_MORE = {aten.addmm_: _addmm, aten.baddbmm_: _addmm}


def flops(call: Callable[[], object], times: int = 1) -> float:
    """Mean number of additions and multiplications in matrix products.

    Convolutions count as the direct ones, also where a library computes them for less.

    Args:
        call (Callable): What to measure.
        times (int): How many times, where it draws at random. Defaults to 1.
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        for _ in range(times):
            call()
    return counter.get_total_flops() / times
