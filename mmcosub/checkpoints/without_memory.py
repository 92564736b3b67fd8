import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModule


@contextmanager
def without_memory() -> Iterator[None]:
    """Build models on the meta device, without memory for their weights."""
    # Networks read drop-path rates from a linspace tensor, which must have values.
    linspace, init_weights = torch.linspace, BaseModule.init_weights
    torch.linspace = functools.partial(linspace, device='cpu')
    # MMPretrain's LoRA initialises its weights on construction.
    BaseModule.init_weights = lambda self: None
    try:
        with torch.device('meta'):
            yield
    finally:
        torch.linspace, BaseModule.init_weights = linspace, init_weights
