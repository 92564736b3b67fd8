"""Contexts that run a network in evaluation, without side effects or without noise."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.overrides import TorchFunctionMode

from .drop_path_modules import is_drop_path, is_dropout

# Packages whose hooks a module needs to work: sharding, reparametrisation, and the
# features of Transformers' models, whose hooks are added in the first forward.
_NEEDED = ('torch', 'deepspeed', 'accelerate', 'fairscale', 'transformers')


@contextmanager
def temporarily(modules: Sequence[nn.Module], **values: Any) -> Iterator[None]:
    """Set attributes of modules, and restore each one's own."""
    before = [(m, name, getattr(m, name)) for m in modules for name in values]
    try:
        for module, name, _ in before:
            setattr(module, name, values[name])
        yield
    finally:
        for module, name, own in before:
            setattr(module, name, own)


def unrecorded(
    modules: Iterable[nn.Module], again: bool = False
) -> AbstractContextManager:
    """Return a context in which BatchNorm records no statistics of its input.

    ``again``: a pass like the one at this call is repeated. It saves the same tensors.
    """
    norms = [m for m in modules if isinstance(m, _BatchNorm)]
    values: dict[str, Any] = dict(track_running_stats=False)
    if again:
        values = dict(momentum=0.0, num_batches_tracked=torch.tensor(0))
        values['track_running_stats'] = any(m.track_running_stats for m in norms)
    return temporarily(norms, **values)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode without gradients, not by its ``train``.

    Each module gets back its own mode.
    """
    with temporarily([*network.modules()], training=False), torch.no_grad():
        yield


@contextmanager
def hooked(hooks: Iterable[tuple[Callable, Callable]]) -> Iterator[None]:
    """Register hooks, each by a method of a module, and remove them afterwards."""
    with ExitStack() as stack:
        for register, hook in hooks:
            stack.callback(register(hook).remove)
        yield


@contextmanager
def outputs_of(
    modules: Iterable[nn.Module],
) -> Iterator[list[tuple[nn.Module, Any]]]:
    """Collect modules and their outputs, in the order in which they finish."""
    outputs: list[tuple[nn.Module, Any]] = []

    def note(module: nn.Module, args: Any, output: Any) -> None:
        outputs.append((module, output))

    with hooked((module.register_forward_hook, note) for module in modules):
        yield outputs


@contextmanager
def untouched(network: nn.Module, image: Tensor) -> Iterator[None]:
    """Restore random state and buffers; make every branch visible, call no hooks.

    Layer scales of 1e-6 and norms of 0, as at initialisation, would hide branches.
    """
    small = [p.data for n, p in network.named_parameters() if _hides_branch(n, p)]
    kept = [(t, t.clone()) for t in (*small, *(b.data for b in network.buffers()))]
    hooks = [(m._forward_hooks, m._forward_hooks.copy()) for m in network.modules()]
    devices = [image.device] if image.is_cuda else []
    states = random.getstate(), np.random.get_state()
    try:
        for own, found in hooks:
            for key in [k for k, hook in found.items() if not _is_needed(hook)]:
                del own[key]
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            for p in small:
                p.fill_(0.5)
            yield
    finally:
        for own, found in hooks:
            added = {k: hook for k, hook in own.items() if _is_needed(hook)}
            own.clear()
            own.update({**found, **added})
        for tensor, value in kept:
            tensor.copy_(value)
        torch.clear_autocast_cache()  # older PyTorch keeps casts of the changed tensors
        random.setstate(states[0])
        np.random.set_state(states[1])


def _hides_branch(name: str, parameter: Tensor) -> bool:
    """Return True if a parameter is a vector of tiny factors."""
    vector = 0 < parameter.numel() == max(parameter.shape, default=0)
    if not vector or name.endswith('bias') or not parameter.is_floating_point():
        return False
    return bool(parameter.detach().abs().max() <= 0.01)


def _is_needed(hook: Any) -> bool:
    hook = getattr(hook, 'func', hook)
    module = getattr(hook, '__module__', None) or type(hook).__module__
    return module.partition('.')[0] in _NEEDED


@contextmanager
def without_noise(network: nn.Module) -> Iterator[None]:
    """Run in training mode without gradients, dropout, DropPath and batch statistics.

    Spectral norms do not iterate. Random modules that are not recognised stay random.
    """
    off = [
        m
        for m in network.modules()
        if isinstance(m, _NormBase | _SpectralNorm) or is_dropout(m) or is_drop_path(m)
    ]
    with temporarily(off, training=False), torch.no_grad(), _NoDropout():
        yield


class _NoDropout(TorchFunctionMode):
    """Function mode in which dropout returns its input, whoever calls it."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if 'dropout' in getattr(func, '__name__', ''):
            return args[0] if args else kwargs['input']
        if func is F.multi_head_attention_forward:
            kwargs['training'] = False
        elif func is F.scaled_dot_product_attention:
            args, later = args[:4], args[5:]
            kwargs.update(zip(('is_causal',), later, strict=False), dropout_p=0.0)
        return func(*args, **kwargs)
