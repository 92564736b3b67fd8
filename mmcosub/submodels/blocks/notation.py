"""Notation for residual functions, which mostly call modules one after another.

Shapes: ``R`` rows, ``C`` channels.

======== =====================================================================
word     computes, of a block and its rows
======== =====================================================================
``m``    module ``m`` of the block
``m?``   the same, or nothing where the block has no such module
``m()``  module ``m``, given the other arguments of the block's forward
``m!``   activation ``m`` out of place, or a copy where there is none
``-m``   attention or FFN ``m`` of MMCV or MMPretrain, without its own
         DropPath and shortcut; also ``-m()``
``*p``   times parameter ``p``, of shape (C, ), or nothing if it is None
``*p:``  the same, for rows of shape (R, C, H, W)
``>``    rows of shape (R, C, H, W) with channels last
``<``    back from channels last
``~``    rows of shape (R, N, C) as (R, C, N)
``[0]``  the first of several outputs
======== =====================================================================

So ``'norm1 attn() *gamma'`` is ``block.gamma * block.attn(block.norm1(x), *args)``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels.branches import Branch, register_block
from mmcosub.submodels.isolation import temporarily

_Residual = Callable[..., Tensor]
_Words = str | _Residual | tuple[str | _Residual, ...]

_WORD = re.compile(r'([*-]?)(\w+)(:|\?|!|\(\))?')
_ORDERS = {'>': (0, 2, 3, 1), '<': (0, 3, 1, 2), '~': (0, 2, 1)}
_OFF: dict[str, Any] = {
    **dict.fromkeys(('drop', 'dropout_layer', 'out_drop'), nn.Identity()),
    'add_identity': False,
}
"""Settings of attention and FFNs without DropPath and shortcut."""


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
    """Return the marks of a word, and a module's or parameter's name or an order."""
    if word in _ORDERS:
        return 'order', _ORDERS[word]
    if word == '[0]':
        return word, None
    found = _WORD.fullmatch(word)
    if found is None:
        raise ValueError(f'Unknown word {word!r} in a residual function.')
    before, name, behind = found.groups('')
    return before + behind, name


def _run(steps: tuple, block: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    for mark, name in steps:
        if mark == '':
            x = getattr(block, name)(x)
        elif mark == 'function':
            x = name(block, x, *args, **kwargs)
        elif mark == '()':
            x = getattr(block, name)(x, *args, **kwargs)
        elif mark == '?':
            module = getattr(block, name, None)
            x = x if module is None else module(x)
        elif mark == '!':
            x = _out_of_place(getattr(block, name, None), x)
        elif mark == '-':
            x = _bare(getattr(block, name), x)
        elif mark == '-()':
            x = _bare(getattr(block, name), x, *args, **kwargs)
        elif mark == 'order':
            x = x.permute(name)
        elif mark == '[0]':
            x = x[0]
        else:
            scale = getattr(block, name)
            if scale is not None:
                x = (scale if mark == '*' else scale[:, None, None]) * x
    return x


def _bare(module: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    values = {name: off for name, off in _OFF.items() if hasattr(module, name)}
    if 'dropout_layer' in values and 'add_identity' not in values:
        kwargs['identity'] = 0  # MMCV's attention
    # Here, not around the whole forward, so that activation checkpointing recomputes
    # the same during backward.
    with temporarily([module], **values):
        return module(x, *args, **kwargs)


def _out_of_place(activation: Any, x: Tensor) -> Tensor:
    """Run an activation without changing its input.

    Needed at the end of a block, where the rows of a skipped branch are the block's
    input tensor itself. Without an activation, the network may go on in place.
    """
    if activation is None:
        return x.clone()
    if not getattr(activation, 'inplace', False):
        return activation(x)
    with temporarily([activation], inplace=False):
        return activation(x)
