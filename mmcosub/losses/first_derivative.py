"""Error for second derivatives of functions that have only a first one."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward pass to raise under ``create_graph=True``.

    PyTorch's ``once_differentiable`` does not raise if the incoming gradient needs
    none, as that of a plain sum, and the second derivative is silently 0.

    Args:
        backward (Callable): The ``backward`` of an autograd function.
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
        """Return the tensors.

        Args:
            ctx (Any): PyTorch's context.
            *tensors (Tensor): Any tensors.
        """
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients."""
        return grads
