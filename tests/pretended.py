"""A device that is not the host, without one.

Its tensors say that they are on 'meta', and hold values all the same. What mixes them
with tensors of the host is refused, as on a GPU.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device('meta')
aten = torch.ops.aten
_COPIES = (aten._to_copy.default, aten.copy_.default)
# A GPU takes indices from the host.
_INDEXING = (aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default)


class Away(Tensor):
    """A tensor on the device."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> 'Away':
        tensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, values.shape, values.stride(), values.storage_offset(),
            dtype=values.dtype, device=DEVICE,
        )  # fmt: skip
        tensor.values = values
        return tensor

    def __repr__(self, **kwargs: Any) -> str:
        return f'Away({self.values})'

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return run(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Puts there, too, what is made there or sent."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: tuple, kwargs: dict) -> Any:
    """Run an operation where its tensors are.

    Raises:
        RuntimeError: If some are on the device and some on the host; numbers, which
            are of no dimension, may be.
    """
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    away = [isinstance(t, Away) for t in tensors]
    to = kwargs.get('device')
    if any(away) and func not in _COPIES:
        checked = tensors[:1] if func in _INDEXING else tensors
        if any(not isinstance(t, Away) and t.dim() for t in checked):
            raise RuntimeError(f'{func} mixes tensors of the device and the host')
    there = any(away) if to is None else torch.device(to) == DEVICE
    if func is aten.copy_.default:
        there = away[0]
    if to is not None:
        kwargs = {**kwargs, 'device': 'cpu'}
    with _disable_current_modes():
        out = func(*tree_map(_values, args), **tree_map(_values, kwargs))
    if tensors and out is _values(tensors[0]):
        return tensors[0]  # it was computed in place
    return tree_map(away_with, out) if there else out


def _values(value: Any) -> Any:
    return value.values if isinstance(value, Away) else value


def away_with(value: Any) -> Any:
    """Take a tensor to the device; anything else is as it was."""
    plain = isinstance(value, Tensor) and not isinstance(value, Away)
    return Away(value) if plain else value


def move(model: nn.Module) -> nn.Module:
    """Move parameters and buffers to the device, in place."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                moved = nn.Parameter(Away(parameter.data), parameter.requires_grad)
                module._parameters[name] = moved
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Away(buffer)
    return model
