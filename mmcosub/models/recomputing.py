"""Heads and necks that MMEngine's ``activation_checkpointing`` names."""

from functools import partial, wraps
from typing import Any

from mmengine.runner.activation_checkpointing import wrap_forward
from torch import nn
from torch.utils.checkpoint import checkpoint

_WRAPPED = wrap_forward(len).__code__
"""The code of every forward that MMEngine has wrapped."""


def recompute_without_reentry(model: nn.Module, backbone: nn.Module) -> None:
    """Have what MMEngine recomputes outside of the backbone learn and teach, in place.

    It takes PyTorch's reentrant way, which passes no gradient through the lists of
    feature maps that heads and necks are given, so that neither they nor what comes
    before them would learn from there. The backbone's parts are the execution's affair.

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
