"""What the residual functions of several families share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

IDENTITY = nn.Identity()


@contextmanager
def set_attributes(module: nn.Module, **values: Any) -> Iterator[None]:
    """Set attributes of a module for the duration of one call.

    Set and restored inside the residual function, not around the whole forward, so
    that activation checkpointing recomputes the very same thing during backward.
    """
    saved = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in saved.items():
            setattr(module, name, value)


def ffn_residual(ffn: Any, x: Tensor) -> Tensor:
    """MMCV's and MMPretrain's FFNs without their shortcut and drop path."""
    with set_attributes(ffn, add_identity=False, dropout_layer=IDENTITY):
        return ffn(x)


def out_of_place(activation: nn.Module, x: Tensor) -> Tensor:
    """An activation that leaves its input alone.

    What ends a block must do so: the rows of a skipped branch are the very tensor that
    came in.
    """
    if not getattr(activation, 'inplace', False):
        return activation(x)
    with set_attributes(activation, inplace=False):
        return activation(x)


def layer_scaled(scale: Tensor | None, x: Tensor) -> Tensor:
    """Rows of shape (R, C, H, W) times a parameter of shape (C, ), if there is one."""
    return x if scale is None else scale[:, None, None] * x
