"""Fixed submodels: a network forwarded with some blocks only.

In training, :func:`mmcosub.submodels.run_submodels` runs a different submodel for each
image. Here all images use the same one, for any number of calls and rows, as in sliding
windows.

Shapes: ``L`` branches.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.submodels import DropPathSite, Site, are_drop_paths
from mmcosub.submodels.forward_override import ForwardOverride
from mmcosub.submodels.run import BranchCall, SubmodelRun

Factors = NDArray[np.float64]


@contextmanager
def as_submodel(
    backbone: nn.Module, sites: Sequence[Site], factors: Factors
) -> Iterator[None]:
    """Run a backbone as one fixed submodel within a context.

    Branches with factor 0 are skipped, unless the block is unknown and only its
    DropPath is found. Blocks whose factors are all 1 run unchanged.

    Args:
        backbone (nn.Module): The backbone, in evaluation mode.
        sites (Sequence[Site]): Its branches, from ``find_branches``, or its drop paths,
            from ``called_drop_paths``.
        factors (ndarray): Factor of every branch, of shape (L, ).
    """
    run: ForwardOverride
    if are_drop_paths(sites):
        calls: Any = sites
        run = _ScaledDropPaths(backbone, calls, factors)
    else:
        changed = {s.block for s, f in zip(sites, factors, strict=True) if f != 1}
        at = [i for i, site in enumerate(sites) if site.block in changed]
        branch = _ScaledBranches(factors[at])
        some = [sites[i] for i in at]
        run = SubmodelRun(backbone, some, branch, nullcontext, ordered=False)
    with run.entered():
        yield


class _ScaledBranches:
    """Execution that scales each branch by its factor; 0 skips it.

    Args:
        factors (ndarray): Factor of every branch, of shape (L, ).
    """

    def __init__(self, factors: Factors) -> None:
        self.factors = factors

    def __call__(self, x: Tensor, call: BranchCall) -> Tensor:
        """Run a branch, see :class:`~mmcosub.submodels.run.RunBranch`."""
        factor = float(self.factors[call.number])
        shortcut = call.shortcut(x)
        if not factor:
            return call.after(shortcut)
        return call.after(torch.add(shortcut, call.residual(x), alpha=factor))


class _ScaledDropPaths(ForwardOverride):
    """Drop paths that multiply by fixed factors, forward after forward.

    Args:
        backbone (nn.Module): The backbone.
        sites (Sequence[DropPathSite]): Its drop-path modules, once for each call.
        factors (ndarray): Factor of each call, of shape (L, ).
    """

    def __init__(
        self, backbone: nn.Module, sites: Sequence[DropPathSite], factors: Factors
    ) -> None:
        self.of_calls: dict[nn.Module, list[float]] = {}
        for site, factor in zip(sites, factors, strict=True):
            self.of_calls.setdefault(site.module, []).append(float(factor))
        forwards = {module: partial(self._scale, module) for module in self.of_calls}
        super().__init__(backbone, forwards, nullcontext, progress=Counter())

    def _scale(self, module: nn.Module, x: Tensor) -> Tensor:
        factors = self.of_calls[module]
        factor = factors[self.progress[module] % len(factors)]
        self.progress[module] += 1
        return x * factor


def names_of_blocks(sites: Sequence[Site]) -> list[str]:
    """Return names of a backbone's residual blocks, in forward order."""
    return list({site.depth: site.name for site in sites}.values())


def factors_of_blocks(sites: Sequence[Site], kept: Collection[int]) -> Factors:
    """Return factors of a submodel: 1 for its blocks' branches, else 0.

    Unlike in training, kept branches are not scaled by 1 / (1 - rate): evaluation uses
    neither DropPath nor that factor.

    Args:
        sites (Sequence[Site]): The backbone's branches.
        kept (Collection[int]): Numbers of the blocks, from 0.

    Returns:
        ndarray: Of shape (L, ).
    """
    return np.array([float(site.depth in kept) for site in sites])


@torch.inference_mode()
def blocks_that_can_go(
    backbone: nn.Module, sites: Sequence[Site], images: Tensor
) -> list[int]:
    """Return blocks that become the identity without their branches.

    A block that changes the resolution or the number of channels, such as the first of
    a ResNet's stages, cannot be removed.

    Args:
        backbone (nn.Module): The backbone, in evaluation mode.
        sites (Sequence[Site]): Its branches.
        images (Tensor): Any images, of shape (B, channels, height, width).

    Returns:
        list[int]: Numbers of the blocks, ascending.
    """
    found: list[int] = []

    def compare(number: int, module: nn.Module, args: tuple, output: Any) -> None:
        after = output[0] if isinstance(output, tuple) else output
        if after.shape == args[0].shape and torch.equal(after, args[0]):
            found.append(number)

    blocks = {site.depth: site.block for site in sites}
    handles = [b.register_forward_hook(partial(compare, n)) for n, b in blocks.items()]
    try:
        with as_submodel(backbone, sites, np.zeros(len(sites))):
            backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    return sorted(set(found))
