"""Where the residual branches of a backbone are.

A branch is the ``f`` of ``x + f(x)``. Every known block class has one entry in a table:
its branches in the order in which it runs them. See ``blocks`` for the table and
``docs/add_a_block.md`` for how to add to it.
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
        residual (Callable): ``residual(block, x, *args) -> f(x)``, where ``args`` is
            whatever else the block's ``forward`` takes. No row (dimension 0) may
            influence another, and no drop path may act inside. It must be a function
            of a module, because models have to stay picklable.
        drop_path (str, optional): Dotted name, from the block, of the module that
            drops this branch in the stock network. None if the stock network never
            drops it.
        shortcut (Callable, optional): ``shortcut(block, x, *args)``, what ``f(x)`` is
            added to, such as a ResNet's down-sampling. Defaults to None, ``x`` itself.
        after (Callable, optional): ``after(block, sum)``, what the block does to the
            sum, such as a ResNet's activation. It must not work in place. Defaults to
            None, nothing.
        exists (Callable, optional): ``exists(block)``, whether this block of the class
            has the branch, such as where only some have a shortcut. A block that has
            none of its branches runs as it stands. Defaults to None, every block.
    """

    residual: Callable[..., Tensor]
    drop_path: str | None = None
    shortcut: Callable[..., Tensor] | None = None
    after: Callable[..., Tensor] | None = None
    exists: Callable[..., bool] | None = None


_BLOCKS: dict[str, tuple[Branch, ...]] = {}
_OUTPUTS: dict[str, Callable] = {}


def register_block(
    name: str, *branches: Branch, output: Callable[..., Any] | None = None
) -> None:
    """Make the branches of a block class known.

    Args:
        name (str): Full dotted name of the class. A name rather than the class, so
            that no optional package is imported for its sake.
        *branches (Branch): The branches, in the order in which the block runs them.
            The block must compute ``x = after(shortcut(x) + f(x))`` for each, and
            nothing else. None at all for a block that runs as it stands with all that
            is in it, such as where rows become something else than samples.
        output (Callable, optional): ``output(block, x, *args)``, what ``forward``
            returns, given what came of the branches. Defaults to None, ``x`` itself.
    """
    _BLOCKS[name] = branches
    if output is not None:
        _OUTPUTS[name] = output


_FIXED_BATCH: set[str] = set()


def register_fixed_batch(*names: str) -> None:
    """Make known that some module relies on as many rows coming out as went in.

    For instance, it reshapes its blocks' output by the number of images that it was
    given. Views cannot share rows inside, as their number grows where views part.

    Args:
        *names (str): Full dotted names of classes.
    """
    _FIXED_BATCH.update(names)


def has_fixed_batch(backbone: nn.Module) -> bool:
    """Whether some module of a backbone relies on a fixed number of rows.

    Args:
        backbone (nn.Module): The backbone.
    """
    kinds: set[Any] = {type(module) for module in backbone.modules()}
    return any(not _FIXED_BATCH.isdisjoint(_class_names(kind)) for kind in kinds)


@cache  # asked for in every step
def _class_names(kind: Any) -> frozenset[str]:
    """Full dotted names of a class and of what it inherits from."""
    return frozenset(f'{c.__module__}.{c.__qualname__}' for c in kind.__mro__)


def known_blocks() -> list[str]:
    """Full dotted names of all known block classes, sorted."""
    return sorted(_BLOCKS)


def block_branches(block: nn.Module) -> tuple[Branch, ...] | None:
    """The branches of a block's class, or None for a class that is not known.

    A subclass counts as known if it inherits ``forward`` from a known class.
    """
    own = getattr(type(block), 'forward', None)
    for cls in type(block).__mro__:
        branches = _BLOCKS.get(f'{cls.__module__}.{cls.__qualname__}')
        if branches is not None:
            return branches if own is getattr(cls, 'forward', None) else None
    return None


def block_output(block: nn.Module) -> Callable[..., Any] | None:
    """What makes a known block's output of what came of its branches, if anything."""
    for cls in type(block).__mro__:
        name = f'{cls.__module__}.{cls.__qualname__}'
        if name in _BLOCKS:
            return _OUTPUTS.get(name)
    return None


@dataclass(frozen=True)
class Site:
    """One branch of one block of one backbone.

    Args:
        name (str): Name of the block in the backbone.
        block (nn.Module): The block.
        branch (Branch): Which of its branches.
        depth (int): Position of the block among the backbone's blocks, from 0.
    """

    name: str
    block: nn.Module
    branch: Branch
    depth: int

    @property
    def stage(self) -> str:
        """Name of the stage: of what holds the block and its like."""
        return self.name.rpartition('.')[0]

    @property
    def drop_path(self) -> nn.Module | None:
        """The stock network's own drop-path module of this branch, if any."""
        if self.branch.drop_path is None:
            return None
        # timm's ResNet has None in its place where the rate is 0.
        return attrgetter(self.branch.drop_path)(self.block)

    @property
    def rate(self) -> float:
        """Drop-path rate of the branch in the stock network."""
        return drop_path_rate(self.drop_path)


class UnknownBlockError(ValueError):
    """A backbone has blocks, or drop paths outside of blocks, that are not known."""


def find_branches(backbone: nn.Module) -> list[Site]:
    """All branches of a backbone, in the order in which they run.

    Args:
        backbone (nn.Module): A backbone built of known blocks.

    Returns:
        list[Site]: One entry a branch. Never empty.

    Raises:
        UnknownBlockError: If there is no known block, or if some drop path with a rate
            above 0 sits outside the known blocks, where it would act unseen.
    """
    sites: list[Site] = []
    inside: set[nn.Module] = set()  # of a block, and so none itself
    covered: set[nn.Module] = set()
    depth = 0
    for name, module in backbone.named_modules():
        branches = block_branches(module)
        if branches is None or module in inside:
            continue
        present = [b for b in branches if b.exists is None or b.exists(module)]
        sites += [Site(name, module, branch, depth) for branch in present]
        inside.update(module.modules())
        if branches:  # and not a block that runs whole, whose drop path would act
            covered.update(module.modules())
        depth += bool(present)

    remedy = (
        'Register it with mmcosub.submodels.register_block (docs/add_a_block.md), or '
        'take a network whose blocks `mmcosub info` lists.'
    )
    kind = f'{type(backbone).__module__}.{type(backbone).__name__}'
    if not sites:
        raise UnknownBlockError(
            f'{kind} has no residual block that mmcosub knows. {remedy}'
        )
    for name, module in backbone.named_modules():
        if is_drop_path(module) and module not in covered and drop_path_rate(module):
            raise UnknownBlockError(
                f'{kind} drops the branch at {name!r}, which is in no block that '
                f'mmcosub knows, so its rate would act unseen. {remedy}'
            )
    return sites
