"""Notation for residual functions, which mostly call modules one after another.

Shapes: ``R`` rows, ``C`` channels.

======== =====================================================================
word     computes, of a block and its rows
======== =====================================================================
``m``    module ``m`` of the block
``m?``   the same, or nothing where the block has no such module
``m()``  module ``m``, given the other arguments of the block's forward
``*p``   times parameter ``p``, of shape (C, ), or nothing if it is None
``*p:``  the same, for rows of shape (R, C, H, W)
``>``    rows of shape (R, C, H, W) with channels last
``<``    back from channels last
``~``    rows of shape (R, N, C) as (R, C, N)
======== =====================================================================

So ``'norm1 attn() *gamma'`` is ``block.gamma * block.attn(block.norm1(x), *args)``.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels.branches import Branch, register_block
from mmcosub.submodels.isolation import temporarily

_Residual = Callable[..., Tensor]
_Words = str | _Residual | tuple[str | _Residual, ...]

_IDENTITY = nn.Identity()
_ORDERS = {'>': (0, 2, 3, 1), '<': (0, 3, 1, 2), '~': (0, 2, 1)}


def register(package: str, blocks: Mapping[str, Branch | Sequence[Branch]]) -> None:
    """Register classes of a package by their names in it."""
    for name, found in blocks.items():
        of_block = [found] if isinstance(found, Branch) else found
        register_block(f'{package}.{name}', *of_block)


def branch(
    residual: _Words,
    drop_path: str | None = None,
    shortcut: _Words | None = None,
    after: _Words | None = None,
    exists: str | Callable[..., bool] | None = None,
) -> Branch:
    """Return a branch with functions in words; ``exists`` may name an attribute."""
    return Branch(
        chain(residual),
        drop_path,
        None if shortcut is None else chain(shortcut),
        None if after is None else chain(after),
        attrgetter(exists) if isinstance(exists, str) else exists,
    )


def branches(*residuals: _Words) -> list[Branch]:
    """Return branches that share the module ``drop_path``."""
    return [branch(residual, 'drop_path') for residual in residuals]


def numbered(*residuals: _Words) -> list[Branch]:
    """Return branches with the modules ``drop_path1``, ``drop_path2``, and so on."""
    return [branch(words, f'drop_path{i}') for i, words in enumerate(residuals, 1)]


def chain(words: _Words) -> _Residual:
    """Return the residual function of words, of a function, or of several of them."""
    if callable(words):
        return words
    steps: list[tuple[str, Any]] = []
    for part in (words,) if isinstance(words, str) else words:
        if callable(part):
            steps.append(('function', part))
        else:
            steps += [_step(word) for word in part.split()]
    return partial(_run, tuple(steps))


def _step(word: str) -> tuple[str, Any]:
    """Return the kind of a word, and a module's or parameter's name or an order."""
    if word in _ORDERS:
        return 'order', _ORDERS[word]
    if word.startswith('*'):
        return ('*:' if word.endswith(':') else '*'), word.strip('*:')
    kind = next((end for end in ('?', '()') if word.endswith(end)), '')
    return kind, word.removesuffix(kind)


def _run(steps: tuple, block: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    for kind, name in steps:
        if kind == 'function':
            x = name(block, x, *args, **kwargs)
        elif kind == 'order':
            x = x.permute(name)
        elif kind == '':
            x = getattr(block, name)(x)
        elif kind == '()':
            x = getattr(block, name)(x, *args, **kwargs)
        elif kind == '?':
            module = getattr(block, name, None)
            x = x if module is None else module(x)
        else:
            scale = getattr(block, name)
            if scale is not None:
                x = (scale if kind == '*' else scale[:, None, None]) * x
    return x


def bare(
    name: str, drop_path: str | None = None, given: bool = False, **options: Any
) -> _Residual:
    """Return a function that calls a module without its own DropPath and shortcut.

    The shortcut is left out where the module has ``add_identity``, as FFNs of MMCV and
    MMPretrain; elsewhere pass ``identity=0`` in the options of the call. With
    ``given``, the module also gets the other arguments of the block's forward.
    """
    return partial(_run_bare, name, drop_path, given, options)


def _run_bare(
    name: str,
    drop_path: str | None,
    given: bool,
    options: dict[str, Any],
    block: Any,
    x: Tensor,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    module = getattr(block, name)
    values: dict[str, Any] = {} if drop_path is None else {drop_path: _IDENTITY}
    if hasattr(module, 'add_identity'):
        values['add_identity'] = False
    # Here, not around the whole forward, so that activation checkpointing recomputes
    # the same during backward.
    with temporarily([module], **values):
        if given:
            return module(x, *args, **kwargs, **options)
        return module(x, **options)


FFN = bare('ffn', 'dropout_layer')


def activation(name: str) -> _Residual:
    """Return a function that runs an activation of the block out of place."""
    return partial(_activate, name)


def _activate(name: str, block: Any, x: Tensor) -> Tensor:
    return out_of_place(getattr(block, name), x)


def out_of_place(activation: nn.Module, x: Tensor) -> Tensor:
    """Run an activation without changing its input.

    Needed at the end of a block, where the rows of a skipped branch are the block's
    input tensor itself.
    """
    if not getattr(activation, 'inplace', False):
        return activation(x)
    with temporarily([activation], inplace=False):
        return activation(x)
