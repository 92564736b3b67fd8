"""A network as one of its submodels.

In training, :func:`mmcosub.submodels.run_submodels` runs a different submodel for each
image. Here all images use the same one, for any number of calls and rows, as in sliding
windows.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.submodels import Site, are_drop_paths, find_branches
from mmcosub.submodels.forward_override import ForwardOverride
from mmcosub.submodels.run import BranchCall, SubmodelRun

from .steps import Shape, input_channels

Factors = NDArray[np.float64]
"""Factors of L branches: of shape (L, ) for a submodel, (K, L) for several."""

Kept = frozenset[int]
"""Numbers of a submodel's blocks, from 0."""


@contextmanager
def as_submodel(
    backbone: nn.Module, sites: Sequence[Site], factors: Factors
) -> Iterator[None]:
    """Run a backbone, in evaluation mode, as one fixed submodel within a context.

    Branches with factor 0 are skipped, unless the block is unknown and only its
    DropPath is found. Blocks whose factors are all 1 run unchanged.
    """
    run: ForwardOverride
    if are_drop_paths(sites):
        run = _scaled_drop_paths(backbone, sites, factors)
    else:
        changed = {s.block for s, f in zip(sites, factors, strict=True) if f != 1}
        at = [i for i, site in enumerate(sites) if site.block in changed]
        branch = partial(_scaled_branch, factors[at])
        some = [sites[i] for i in at]
        run = SubmodelRun(backbone, some, branch, nullcontext, ordered=False)
    with run.entered():
        yield


def _scaled_branch(factors: Factors, x: Tensor, call: BranchCall) -> Tensor:
    factor = float(factors[call.number])
    shortcut = call.shortcut(x)
    if not factor:
        return call.after(shortcut)
    return call.after(torch.add(shortcut, call.residual(x), alpha=factor))


def _scaled_drop_paths(
    backbone: nn.Module, sites: Sequence[Any], factors: Factors
) -> ForwardOverride:
    """Drop paths that multiply by the factors of their calls, forward after forward."""
    of_calls: dict[nn.Module, list[float]] = {}
    for site, factor in zip(sites, factors, strict=True):
        of_calls.setdefault(site.module, []).append(float(factor))

    def scale(factors: Iterator[float], x: Tensor) -> Tensor:
        return x * next(factors)

    forwards = {m: partial(scale, cycle(found)) for m, found in of_calls.items()}
    return ForwardOverride(backbone, forwards, nullcontext, progress=None)


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone of a segmentor or classifier; ValueError if it has none."""
    backbone: Any = getattr(model, 'backbone', None)
    if backbone is None and type(model).__name__ == 'TimmClassifier':
        backbone = model.model
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no backbone: it is neither a segmentor of '
            'MMSegmentation nor a classifier of MMPretrain.'
        )
    return backbone


class Network:
    """Segmentor or classifier with the residual blocks of its backbone.

    Args:
        model (nn.Module): The model with its weights; set to evaluation mode.
        shape (tuple[int, int]): Height and width of an image.

    Raises:
        ValueError: If a block of its backbone is not known.
    """

    def __init__(self, model: nn.Module, shape: Shape) -> None:
        self.model = model
        self.model.eval()
        self.backbone = backbone_of(model)
        self.sites = find_branches(self.backbone)
        self.blocks = list({site.depth: site.name for site in self.sites}.values())
        """Names of the residual blocks, in forward order."""
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, input_channels(model), *shape, generator=generator)
        self.image = noise.to(next(model.parameters()).device)
        """A fixed noise image as after preprocessing, (1, channels, height, width)."""
        self.fixed = self.full - self._identities()
        """Blocks that every submodel has, as they change resolution or channels."""

    @property
    def full(self) -> Kept:
        """All blocks."""
        return frozenset(range(len(self.blocks)))

    def submodel(self, kept: Collection[int]) -> AbstractContextManager:
        """Run the model as a submodel of some blocks within a context."""
        # Not 1 / (1 - rate), as in training: evaluation does not scale.
        factors = np.array([float(site.depth in kept) for site in self.sites])
        return as_submodel(self.backbone, self.sites, factors)

    @torch.inference_mode()
    def _identities(self) -> Kept:
        """Return blocks that become the identity without their branches."""
        found: set[int] = set()

        def compare(number: int, module: nn.Module, args: tuple, output: Any) -> None:
            after = output[0] if isinstance(output, tuple) else output
            if after.shape == args[0].shape and torch.equal(after, args[0]):
                found.add(number)

        with ExitStack() as hooks, self.submodel(()):
            for number, block in {s.depth: s.block for s in self.sites}.items():
                hook = block.register_forward_hook(partial(compare, number))
                hooks.callback(hook.remove)
            self.backbone(self.image)
        return frozenset(found)

    def why_not(self, kept: Kept) -> str | None:
        """Return why some blocks make no submodel; None if they do."""
        if not kept:
            return 'it would be empty: keep one block at least'
        if unknown := sorted(kept - self.full):
            return (
                f'there is no block {unknown[0]}: there are {len(self.blocks)}, '
                f'0 to {len(self.blocks) - 1}'
            )
        if gone := sorted(self.fixed - kept):
            return (
                f'block {gone[0]} ({self.blocks[gone[0]]}) changes the resolution or '
                'the channels, and what follows relies on it: keep it'
            )
        return None
