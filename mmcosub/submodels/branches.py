"""Table of known residual blocks, and search for their branches in a backbone.

A branch is the ``f`` of ``x + f(x)``. The table lists the branches of each block class
in the order in which the block runs them. ``blocks`` fills it; ``docs/add_a_block.md``
explains how to add to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from .drop_path_modules import drop_path_rate, is_drop_path


@dataclass(frozen=True)
class Branch:
    """One residual branch of a block class.

    Args:
        residual (Callable): ``residual(block, x, *args) -> f(x)``, where ``args`` are
            the other arguments of the block's ``forward``. No row (dimension 0) may
            influence another, and no DropPath may act inside. It must be picklable: a
            function at the top level of a file.
        drop_path (str, optional): Dotted name, from the block, of the DropPath module
            of this branch. None if upstream never drops the branch.
        shortcut (Callable, optional): ``shortcut(block, x, *args)`` returns the term
            that ``f(x)`` is added to, such as a ResNet's down-sampling. Defaults to
            None, ``x`` itself.
        after (Callable, optional): ``after(block, sum, *args)`` is applied to the sum,
            such as a ResNet's activation. It must not work in place. That of the last
            branch returns what the block does. Defaults to None.
        exists (Callable, optional): ``exists(block)`` returns False for blocks of the
            class without this branch. A block without branches runs unmodified.
            Defaults to None, every block.
    """

    residual: Callable[..., Tensor]
    drop_path: str | None = None
    shortcut: Callable[..., Tensor] | None = None
    after: Callable[..., Any] | None = None
    exists: Callable[..., bool] | None = None


_BLOCKS: dict[str, tuple[Branch, ...]] = {}


def register_block(name: str | type, *branches: Branch) -> None:
    """Register the branches of a block class.

    Args:
        name (str | type): The class, or its full dotted name, so that optional
            packages need not be imported.
        *branches (Branch): The branches, in the order in which the block runs them.
            The block must compute ``x = after(shortcut(x) + f(x))`` for each, and
            nothing else. Give none if the block and all inside of it must run
            unmodified, such as where rows stop being samples.

    Raises:
        ValueError: If it gets something else.
    """
    if isinstance(name, type):
        name = class_names(name)[0]
    if not isinstance(name, str) or not all(isinstance(b, Branch) for b in branches):
        raise ValueError(
            "register_block takes a class or its full name, such as 'mynet.Block', and "
            f'Branch objects, not {name!r}, {branches}.'
        )
    _BLOCKS[name] = branches


def list_modules(module: Any, found: list[Any] | None = None) -> list[Any]:
    """Return a module and all inside of it, faster than ``modules()``."""
    found = [] if found is None else found
    found.append(module)
    for child in module._modules.values():
        if child is not None:
            list_modules(child, found)
    return found


@cache  # called in every step
def class_names(cls: Any) -> tuple[str, ...]:
    """Return full dotted names of a class and its bases, nearest first."""
    return tuple(f'{c.__module__}.{c.__qualname__}' for c in cls.__mro__)


def known_blocks() -> list[str]:
    """Return full dotted names of all known block classes, sorted."""
    return sorted(_BLOCKS)


def block_branches(block: nn.Module) -> tuple[Branch, ...] | None:
    """Return the branches of a block whose ``forward`` is registered, or None."""
    cls: Any = type(block)
    for base, name in zip(cls.__mro__, class_names(cls), strict=True):
        if name in _BLOCKS:
            inherited = cls.forward is getattr(base, 'forward', None)
            return _BLOCKS[name] if inherited else None
    return None


@dataclass(frozen=True)
class Site:
    """One branch of one block, in a backbone."""

    name: str
    """Name of the block in the backbone."""
    block: nn.Module
    branch: Branch
    depth: int
    """Position of the block among the backbone's blocks, from 0."""

    @property
    def stage(self) -> str:
        """Name of the stage: the parent module of the block."""
        return self.name.rpartition('.')[0]

    @property
    def drop_path(self) -> nn.Module | None:
        """DropPath module of this branch upstream, if any."""
        if self.branch.drop_path is None:
            return None
        # timm's ResNet has None there at rate 0.
        return attrgetter(self.branch.drop_path)(self.block)

    @property
    def rate(self) -> float:
        """Drop-path rate of the branch upstream."""
        return drop_path_rate(self.drop_path)


class UnknownBlockError(ValueError):
    """A backbone has no registered block, or a DropPath outside of all of them."""


def find_branches(backbone: nn.Module) -> list[Site]:
    """Return all branches of a backbone, at least one, in the order of ``modules()``.

    Raises an ``UnknownBlockError`` if there is none, or a DropPath outside of all.
    """
    sites: list[Site] = []
    inside: set[nn.Module] = set()  # modules inside a block found before
    covered: set[nn.Module] = set()
    depth = 0
    for name, module in backbone.named_modules():
        branches = block_branches(module)
        if branches is None or module in inside:
            continue
        present = [b for b in branches if b.exists is None or b.exists(module)]
        sites += [Site(name, module, branch, depth) for branch in present]
        inside.update(module.modules())
        if branches:  # a block without branches runs its own DropPath
            covered.update(module.modules())
        depth += bool(present)

    remedy = (
        'Register it with mmcosub.submodels.register_block, or '
        'take a network whose blocks `mmcosub info` lists.'
    )
    network = f'{type(backbone).__module__}.{type(backbone).__name__}'
    if not sites:
        raise UnknownBlockError(
            f'{network} has no residual block that mmcosub knows. {remedy}'
        )
    for name, module in backbone.named_modules():
        if is_drop_path(module) and module not in covered and drop_path_rate(module):
            raise UnknownBlockError(
                f'{network} has a DropPath at {name!r}, which is in no block '
                f'that mmcosub knows, so it would act beside the plan. {remedy}'
            )
    return sites
