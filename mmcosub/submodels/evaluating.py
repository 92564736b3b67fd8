"""Running a network in evaluation, without leaving a trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network in evaluation, without gradients, and its modes back afterwards.

    Each module's own mode is put back: some are kept in evaluation while their network
    trains. Networks whose ``train`` does more than that are not told.

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
