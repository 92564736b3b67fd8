"""Helpers of autograd functions: errors for second derivatives, and no autocast."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of an autograd function to raise under create_graph.

    PyTorch's ``once_differentiable`` does not raise if the incoming gradient needs
    none, as that of a plain sum, and the second derivative is silently 0.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'This computation can be differentiated only once: train without '
                'create_graph=True. Heads and attention have second derivatives '
                'without `fast`.'
            )
        return backward(ctx, *grads)

    return wrapper


class OnlyOnce(torch.autograd.Function):
    """Identity that raises under ``create_graph=True``.

    Used before computations that choose an implementation by size and device, only some
    of which have a second derivative.
    """

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        return grads


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Return a context without autocast, also on devices that do not support it."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
