"""Override of forwards during one pass, also under activation checkpointing.

The ``forward`` of each overridden class is wrapped once. The wrapper looks up the pass
of its thread (a context variable) and calls the forward that this pass has for the
module. Modules do not change, so that they can be copied, pickled and exported.
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial, wraps
from inspect import ismethod
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .branches import list_modules
from .isolation import unrecorded

_Context = Callable[[], AbstractContextManager]

_CURRENT: ContextVar['ForwardOverride | None'] = ContextVar('pass', default=None)

_ROUTED: WeakSet[Callable] = WeakSet()
"""Wrapped forwards, which look up the pass."""

_RAN: WeakSet[nn.Module] = WeakSet()
"""Modules whose last forward was another one."""

# Flags by which modules of MMPretrain, MMSegmentation, timm and transformers recompute.
_FLAGS = ('with_cp', 'use_checkpoint', 'grad_checkpointing', 'gradient_checkpointing')


class ForwardOverride:
    """One pass of a backbone in which some modules run another ``forward``.

    Activation checkpointing recomputes parts of the pass during backward, when the pass
    itself is over. Such a part re-enters this object, so that it uses the plan and the
    perturbation of its own iteration. Supported are MMEngine's
    ``activation_checkpointing``, PyTorch's ``checkpoint_wrapper`` and the networks' own
    flags, which are off during the pass: what they would recompute, this object does.

    ``forwards`` has the new ``forward`` of each module, ``perturbed`` returns a context
    to run in, and ``progress`` is the subclass's count of branches done: a recomputed
    part starts from a copy of the count that it started from first. ``blocks`` are
    recomputed one by one where a flag is on. Raises a ``ValueError`` if a module's own
    ``forward`` hides that of its class.
    """

    def __init__(
        self,
        backbone: nn.Module,
        forwards: Mapping[nn.Module, Callable],
        perturbed: _Context,
        progress: Any,
        blocks: Collection[nn.Module] = (),
    ) -> None:
        self.perturbed = perturbed
        self.progress = progress
        self.forwards = dict(forwards)
        self.running: set[nn.Module] = set()
        """Modules whose other forward is running."""
        self._flags: list[tuple[nn.Module, str]] = []
        self.modules = list_modules(backbone)
        for module in self.modules:
            own = vars(module)
            self._flags += [(module, flag) for flag in _FLAGS if own.get(flag) is True]
            inner: Any = own['_modules'].get('_checkpoint_wrapped_module')
            if inner is not None:  # PyTorch's wrapper
                self.forwards[module] = partial(self.recomputed, inner)
            elif ismethod(own.get('forward')) and module not in self.forwards:
                pass  # accelerate's, with its autocast around the whole model
            elif hasattr(own.get('forward'), '__wrapped__'):
                _follow_pass(module)
            elif 'forward' in own and module in self.forwards:
                name = next(n for n, m in backbone.named_modules() if m is module)
                raise ValueError(
                    f'{name} ({type(module).__name__}) has a forward that is not its '
                    "class's, so something wraps or replaces it, which submodels would "
                    'leave out. Remove that, or register a class that computes it '
                    '(mmcosub.submodels.register_block).'
                )
        if self.forwards and self._flags:
            self._take_over([block for block in blocks if block is not backbone])
        for cls in {type(module) for module in self.forwards}:
            _route(cls)

    def _take_over(self, blocks: Collection[nn.Module]) -> None:
        """Recompute the blocks inside or around modules with a flag, or these."""
        block_of = {inner: block for block in blocks for inner in block.modules()}
        parts: set[nn.Module] = set()
        for flagged, _ in self._flags:
            found = {block_of[m] for m in flagged.modules() if m in block_of}
            parts |= found or {flagged}
        for part in parts:
            forward = self.forwards.get(part) or _upstream_forward(part)
            self.forwards[part] = partial(self.recomputed, forward)

    def check_complete(self) -> None:
        """Raise if the pass left out a branch."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this the pass of the thread."""
        token = _CURRENT.set(self)
        try:
            for module, flag in self._flags:
                setattr(module, flag, False)
            with self.perturbed():
                yield
        finally:
            for module, flag in self._flags:
                setattr(module, flag, True)
            _CURRENT.reset(token)

    def recomputed(self, part: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run a part of the network without storing its activations."""
        progress = copy.copy(self.progress)
        kwargs['use_reentrant'] = False
        return checkpoint(self._run, progress, part, *args, **kwargs)

    def _run(self, progress: Any, part: Callable, *args: Any, **kwargs: Any) -> Any:
        if _CURRENT.get() is self:
            return part(*args, **kwargs)
        self.progress = copy.copy(progress)  # in the backward pass
        with self.entered(), unrecorded(self.modules, again=True):
            return part(*args, **kwargs)


def _route(cls: Any) -> None:
    """Wrap the forward of a class, or of its base that defines it.

    Under ``torch.compile`` and ``torch.export``, the wrapper calls upstream's forward.
    """
    owner = next(c for c in cls.__mro__ if 'forward' in vars(c))
    upstream = vars(owner)['forward']
    if upstream in _ROUTED:
        return

    @wraps(upstream)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not torch.compiler.is_compiling():
            current = _CURRENT.get()
            if current is None:
                _check_unseen(self)
            # Another forward may call upstream's, also by a subclass.
            elif self not in current.running:
                other = current.forwards.get(self)
                if other is not None:
                    _RAN.add(self)
                    current.running.add(self)
                    try:
                        return other(*args, **kwargs)
                    finally:
                        current.running.discard(self)
        return upstream(self, *args, **kwargs)

    _ROUTED.add(forward)
    owner.forward = forward


def _check_unseen(module: nn.Module) -> None:
    """Raise if the backward pass recomputes a module of a pass without the pass.

    The unmodified module would run.
    """
    if module not in _RAN:
        return
    if torch._C._current_graph_task_id() == -1:  # outside of a backward pass
        _RAN.discard(module)
        return
    raise ValueError(
        f'The network recomputes {type(module).__name__} in a way that mmcosub does '
        'not see, and its submodels would be others then. Turn its own checkpointing '
        'off and use activation_checkpointing=[...] of MMEngine with the names of '
        "blocks, or PyTorch's checkpoint_wrapper around blocks."
    )


def _follow_pass(module: Any) -> None:
    """Have the pass recompute a module that MMEngine recomputes, if there is one."""
    wrapper: Any = vars(module)['forward']
    if wrapper in _ROUTED:
        return
    inner = wrapper.__wrapped__
    if getattr(inner, '__self__', None) is module:  # bound before its class was routed
        inner = partial(_routed_forward, module)

    @wraps(wrapper.__wrapped__)
    def forward(*args: Any, **kwargs: Any) -> Any:
        current = _CURRENT.get()
        if current is None:
            return wrapper(*args, **kwargs)
        return current.recomputed(inner, *args, **kwargs)

    _ROUTED.add(forward)
    module.forward = forward


def _routed_forward(module: Any, *args: Any, **kwargs: Any) -> Any:
    return type(module).forward(module, *args, **kwargs)


def _upstream_forward(module: nn.Module) -> Callable:
    """Return the forward of a module's class, unwrapped."""
    forward: Any = type(module).forward
    return partial(forward.__wrapped__ if forward in _ROUTED else forward, module)
