"""Arithmetic of a call, and peak memory of its tensors."""

from collections.abc import Callable
from statistics import mean, median

import torch
from torch.profiler import ProfilerActivity, profile

from mmcosub.analysis.costs import count_flops


def peak_memory(call: Callable[[], object]) -> int:
    """Most bytes of tensors that a call has beyond what was there before.

    On a GPU by the allocator's own count; else from the profiler's record of every
    allocation.

    Args:
        call (Callable): What to measure.
    """
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    events = [
        (event.start_ns(), event.nbytes())
        for event in record.profiler.kineto_results.events()
        if event.name() == '[memory]'
    ]
    assert events, 'The profiler recorded no allocation.'
    now = peak = 0
    for _, size in sorted(events, key=lambda event: event[0]):
        now += size
        peak = max(peak, now)
    return peak


def account(call: Callable[[], object], draws: int = 1) -> tuple[float, float]:
    """Arithmetic, the mean, and peak memory, the median, over calls.

    Args:
        call (Callable): What to measure.
        draws (int): How many times, where it draws at random. Defaults to 1.
    """
    work: list[int] = []
    peaks = [peak_memory(lambda: work.append(count_flops(call))) for _ in range(draws)]
    return mean(work), median(peaks)
