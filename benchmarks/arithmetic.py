"""How much arithmetic a call does, and in how much memory."""

from collections.abc import Callable
from statistics import mean, median

from memory import peak_memory

from mmcosub.analysis.costs import count_flops


def account(call: Callable[[], object], draws: int = 1) -> tuple[float, float]:
    """Arithmetic, the mean, and peak memory, the median, over calls.

    Args:
        call (Callable): What to measure.
        draws (int): How many times, where it draws at random. Defaults to 1.
    """
    work: list[int] = []
    peaks = [peak_memory(lambda: work.append(count_flops(call))) for _ in range(draws)]
    return mean(work), median(peaks)
