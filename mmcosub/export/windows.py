"""Swin's windows, without a batch size that becomes a constant of the graph."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


def has_windows(model: nn.Module) -> bool:
    """Return True if shifted windows are attended to, whose masks are of one size.

    Args:
        model (nn.Module): The model.
    """
    return any(hasattr(module, 'shift_size') for module in model.modules())


@contextmanager
def open_batch_size(model: nn.Module) -> Iterator[None]:
    """Merge windows by their size alone for as long as the context lasts.

    Upstream computes the batch size with ``int()``, which fixes it in a graph.

    Args:
        model (nn.Module): The model.
    """
    kinds: set[Any] = {
        type(module) for module in model.modules() if hasattr(module, 'window_reverse')
    }
    owners = {k: c for k in kinds for c in k.__mro__ if 'window_reverse' in vars(c)}
    before = {owner: vars(owner)['window_reverse'] for owner in owners.values()}
    for owner, given in before.items():
        static = isinstance(given, staticmethod)
        owner.window_reverse = staticmethod(_merge) if static else _merge_own
    try:
        yield
    finally:
        for owner, given in before.items():
            owner.window_reverse = given


def _merge(windows: Tensor, height: int, width: int, size: int) -> Tensor:
    """Merge windows of shape (B * N, size, size, C) into (B, height, width, C)."""
    rows, columns, channels = height // size, width // size, windows.shape[-1]
    x = windows.view(-1, rows, columns, size, size, channels)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, height, width, channels)


def _merge_own(self: Any, windows: Tensor, height: int, width: int) -> Tensor:
    """Merge windows as a method of a module that has their size."""
    return _merge(windows, height, width, self.window_size)
