"""Activation checkpointing of necks and heads."""

from functools import partial, wraps
from typing import Any

from mmengine.runner.activation_checkpointing import wrap_forward
from torch import nn
from torch.utils.checkpoint import checkpoint

_WRAPPED = wrap_forward(len).__code__
"""Code object of all forwards that MMEngine has wrapped."""


def recompute_without_reentry(model: nn.Module, backbone: nn.Module) -> None:
    """Make checkpointing of necks and heads non-reentrant, in place.

    MMEngine's ``activation_checkpointing`` uses PyTorch's reentrant checkpoint, which
    passes no gradients through the lists of feature maps that necks and heads get.
    Executions handle the backbone's modules.

    Args:
        model (nn.Module): The model.
        backbone (nn.Module): Its backbone.
    """
    inside = set(backbone.modules())
    for module in model.modules():
        forward: Any = vars(module).get('forward')
        if getattr(forward, '__code__', None) is _WRAPPED and module not in inside:
            plain = forward.__wrapped__
            again = partial(checkpoint, plain, use_reentrant=False)
            module.forward = wraps(plain)(again)
