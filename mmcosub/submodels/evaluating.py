"""Contexts that change a network and restore it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def temporarily(modules: Sequence[nn.Module], name: str, value: Any) -> Iterator[None]:
    """Set an attribute of modules, and restore each one's own."""
    before = [getattr(module, name) for module in modules]
    try:
        for module in modules:
            setattr(module, name, value)
        yield
    finally:
        for module, own in zip(modules, before, strict=True):
            setattr(module, name, own)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode without gradients, and restore its modes.

    Each module gets back its own mode, since frozen modules of a training network are
    in evaluation. ``train`` is not called, so overrides of it do not act.

    Args:
        network (nn.Module): The network.
    """
    with temporarily([*network.modules()], 'training', False), torch.no_grad():
        yield
