"""A model with the residual blocks of its backbone, to run as submodels."""

from collections.abc import Collection
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from mmcosub.submodels import find_branches

from .steps import Shape, input_channels
from .submodel import as_submodel, backbone_of

Kept = frozenset[int]
"""Numbers of a submodel's blocks, from 0."""


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
