"""Context that evaluates a network and restores its modes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode without gradients, and restore its modes.

    Each module gets back its own mode, since frozen modules of a training network are
    in evaluation. ``train`` is not called, so overrides of it do not act.

    Args:
        network (nn.Module): The network.
    """
    modes = {module: module.training for module in network.modules()}
    try:
        for module in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
