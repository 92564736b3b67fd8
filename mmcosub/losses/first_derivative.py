"""Backward passes that are not themselves differentiable, and say so."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Have a backward pass refuse ``create_graph=True``.

    PyTorch's ``once_differentiable`` lets it pass where what comes from above needs no
    gradient, as behind a plain sum, and then takes the second derivative for 0.

    Args:
        backward (Callable): The ``backward`` of an autograd function.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'This computation can be differentiated only once: train without '
                'create_graph=True. Of heads and attention there is the stock one, '
                'without `fast`.'
            )
        return backward(ctx, *grads)

    return wrapper


class OnlyOnce(torch.autograd.Function):
    """Hand tensors on to a computation that is to be differentiated only once.

    PyTorch could do better; but what can be done should not depend on the size of maps
    or on the device, by which one of several ways is taken.
    """

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Hand them on.

        Args:
            ctx (Any): Of PyTorch.
            *tensors (Tensor): Any.
        """
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Hand their gradients on."""
        return grads
