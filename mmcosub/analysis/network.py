"""A model with the residual blocks of its backbone, to run as submodels."""

from collections.abc import Collection
from contextlib import AbstractContextManager

import torch
from torch import nn

from mmcosub.submodels import find_branches

from .steps import Shape, input_channels
from .submodel import (
    as_submodel,
    backbone_of,
    blocks_that_can_go,
    factors_of_blocks,
    names_of_blocks,
)

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
        self.blocks = names_of_blocks(self.sites)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, input_channels(model), *shape, generator=generator)
        self.image = noise.to(next(model.parameters()).device)
        """A fixed noise image as after preprocessing, (1, channels, height, width)."""
        can_go = blocks_that_can_go(self.backbone, self.sites, self.image)
        self.fixed = self.full - frozenset(can_go)
        """Blocks that every submodel has."""

    @property
    def full(self) -> Kept:
        """All blocks."""
        return frozenset(range(len(self.blocks)))

    def submodel(self, kept: Collection[int]) -> AbstractContextManager:
        """Run the model as a submodel within a context.

        Args:
            kept (Collection[int]): Numbers of the submodel's blocks, from 0.
        """
        factors = factors_of_blocks(self.sites, kept)
        return as_submodel(self.backbone, self.sites, factors)

    def why_not(self, kept: Kept) -> str | None:
        """Return why some blocks make no submodel; None if they do."""
        if not kept:
            return 'it would be empty: keep one block at least'
        unknown = sorted(kept - self.full)
        if unknown:
            return (
                f'there is no block {unknown[0]}: there are {len(self.blocks)}, '
                f'0 to {len(self.blocks) - 1}'
            )
        gone = sorted(self.fixed - kept)
        if gone:
            return (
                f'block {gone[0]} ({self.blocks[gone[0]]}) changes the resolution or '
                'the channels, and what follows relies on it: keep it'
            )
        return None
