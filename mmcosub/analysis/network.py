"""A network as one of its submodels.

In training, :func:`mmcosub.submodels.run_submodels` runs a different submodel for each
image. Here all images use the same one, for any number of calls and rows, as in sliding
windows.
"""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.submodels import find_branches
from mmcosub.submodels.run import BranchCall, SubmodelRun

from .steps import Shape, input_channels

Kept = frozenset[int]
"""Numbers of a submodel's blocks, from 0."""


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


def _skipped(x: Tensor, call: BranchCall) -> Tensor:
    return call.after(call.shortcut(x))


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

    @contextmanager
    def submodel(self, kept: Collection[int]) -> Iterator[None]:
        """Run the model as a submodel of some blocks within a context.

        Kept branches are not scaled by 1 / (1 - rate), as in training.
        """
        gone = [site for site in self.sites if site.depth not in kept]
        run = SubmodelRun(self.backbone, gone, _skipped, nullcontext, ordered=False)
        with run.entered():
            yield

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
