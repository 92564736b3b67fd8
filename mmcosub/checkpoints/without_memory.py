import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.model import BaseModule


@contextmanager
def without_memory() -> Iterator[None]:
    """Build models on the meta device, without memory for their weights."""
    # Networks read their rates off a tensor, which has to be a real one.
    linspace, init_weights = torch.linspace, BaseModule.init_weights
    torch.linspace = functools.partial(linspace, device='cpu')
    # MMPretrain's LoRA fills its weights as it is built, and MMEngine looks at them.
    BaseModule.init_weights = lambda self: None
    try:
        with torch.device('meta'):
            yield
    finally:
        torch.linspace, BaseModule.init_weights = linspace, init_weights
