"""Shared parts of residual functions. Shapes: ``R`` rows, ``C`` channels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

IDENTITY = nn.Identity()


def chain(names: str) -> Callable[..., Tensor]:
    """Return a residual function that calls submodules of a block one after another.

    Args:
        names (str): Their names, separated by spaces.
    """
    return partial(_call_all, tuple(names.split()))


def _call_all(
    names: tuple[str, ...], block: nn.Module, x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    for name in names:
        x = getattr(block, name)(x)
    return x


@contextmanager
def set_attributes(module: nn.Module, **values: Any) -> Iterator[None]:
    """Set attributes of a module for the duration of one call.

    Used inside a residual function, not around the whole forward, so that activation
    checkpointing recomputes the same during backward.
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
    """Run an FFN of MMCV or MMPretrain without its shortcut and DropPath."""
    with set_attributes(ffn, add_identity=False, dropout_layer=IDENTITY):
        return ffn(x)


def norm2_ffn(block: Any, x: Tensor, *args: Any) -> Tensor:
    """Return the FFN branch of a block after its ``norm2``."""
    return ffn_residual(block.ffn, block.norm2(x))


def activation(name: str) -> Callable[..., Tensor]:
    """Return a function ``(block, x)`` that runs an activation out of place."""
    return partial(_activate, name)


def _activate(name: str, block: nn.Module, x: Tensor) -> Tensor:
    return out_of_place(getattr(block, name), x)


def out_of_place(activation: nn.Module, x: Tensor) -> Tensor:
    """Run an activation without changing its input.

    Needed at the end of a block, where the rows of a skipped branch are the block's
    input tensor itself.
    """
    if not getattr(activation, 'inplace', False):
        return activation(x)
    with set_attributes(activation, inplace=False):
        return activation(x)


def downsampled(block: Any, x: Tensor) -> Tensor:
    """Return the shortcut of a ResNet block."""
    return x if block.downsample is None else block.downsample(x)


def layer_scaled(scale: Tensor | None, x: Tensor) -> Tensor:
    """Multiply rows of shape (R, C, H, W) by a parameter of shape (C, ), if any."""
    return x if scale is None else scale[:, None, None] * x
