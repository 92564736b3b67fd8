"""Notation for tables of residual blocks, which mostly call modules one after another.

A table has a line for each class and then one for each of its branches, indented, in
the order in which the block runs them. A single branch may follow a colon. Classes in
lines one below the other have the same branches. The packages are in brackets::

    [timm.models]
    resnet.BasicBlock: conv1 bn1 act1 conv2 bn2  @drop_path  + downsample?  then act2!
    twins.Block
        norm1 attn()  @drop_path1
        norm2 mlp     @drop_path2

These are the words of a branch, then ``@`` and its DropPath module, if upstream has
one, ``+`` and words for what it is added to, if that is not the block's input, ``then``
and words for the sum, and ``if`` and an attribute that is true for blocks with the
branch. Rows have the shape (R, C, ...), with R rows and C channels.

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
``{f}``  function ``f``, given with the table, of block, rows and arguments
======== =====================================================================
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from mmcosub.submodels.branches import Branch, register_block
from mmcosub.submodels.isolation import temporarily

_Step = tuple[str, Any]
_Functions = Mapping[str, Any]
"""Functions by name: the globals of a file with a table."""

_WORD = re.compile(r'([*-]?)(\w+)(:|\?|!|\(\))?')
_ORDERS = {'>': (0, 2, 3, 1), '<': (0, 3, 1, 2), '~': (0, 2, 1)}
_OFF: dict[str, Any] = {
    **dict.fromkeys(('drop', 'dropout_layer', 'out_drop'), nn.Identity()),
    'add_identity': False,
}
"""Settings of attention and FFNs without DropPath and shortcut."""


def register(table: str, functions: _Functions) -> None:
    """Register the classes of a table."""
    packages: list[str] = []
    names: list[str] = []
    branches: list[Branch] = []
    for line in [*table.splitlines(), '[]']:
        line = line.partition('#')[0].rstrip()
        if line and not line.startswith(' ') and branches:
            for package, name in product(packages, names):
                register_block(f'{package}.{name}', *branches)
            names, branches = [], []
        if line.startswith('['):
            packages = line.strip('[]').split()
            continue
        if line and not line.startswith(' '):
            name, _, line = line.partition(':')
            names.append(name)
        if line:
            branches.append(branch(line, functions))


def branch(line: str, functions: _Functions) -> Branch:
    """Return the branch of a line."""
    parts: dict[str, list[_Step]] = {'': [], '+': [], 'then': [], 'if': []}
    drop_path, part = None, ''
    for word in line.split():
        if word in parts:
            part = word
        elif word.startswith('@'):
            drop_path = word[1:]
        else:
            parts[part].append(_step(word, functions))
    residual, shortcut, after = (
        _chain(parts[part]) if parts[part] else None for part in ('', '+', 'then')
    )
    assert residual is not None, line
    exists = None
    for mark, found in parts['if']:
        exists = found if mark == '{}' else attrgetter(found)
    return Branch(residual, drop_path, shortcut, after, exists)


def chain(words: str) -> Callable[..., Any]:
    """Return the function of words."""
    return _chain([_step(word, {}) for word in words.split()])


def _chain(steps: Sequence[_Step]) -> Callable[..., Any]:
    (mark, found), *others = steps
    return found if mark == '{}' and not others else partial(_run, tuple(steps))


def _step(word: str, functions: _Functions) -> _Step:
    """Return the marks of a word, and what it names."""
    if word in _ORDERS:
        return 'order', _ORDERS[word]
    if word == '[0]':
        return word, None
    if word.startswith('{'):
        return '{}', functions[word.strip('{}')]
    found = _WORD.fullmatch(word)
    if found is None:
        raise ValueError(f'Unknown word {word!r} in the notation of blocks.')
    before, name, behind = found.groups('')
    return before + behind, name


def _run(steps: Sequence[_Step], block: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    for mark, name in steps:
        if mark == '':
            x = getattr(block, name)(x)
        elif mark == '{}':
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
