from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.submodels import find_branches

from .steps import Shape, image_shape, input_channels
from .submodel import (
    as_submodel,
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
        device = next(model.parameters()).device
        self.image = example_image(model, shape).to(device)
        can_go = blocks_that_can_go(self.backbone, self.sites, self.image)
        self.fixed = frozenset(range(len(self.blocks))) - frozenset(can_go)
        """Blocks that every submodel has."""

    @property
    def full(self) -> Kept:
        """All blocks."""
        return frozenset(range(len(self.blocks)))

    def submodel(self, kept: Collection[int]) -> AbstractContextManager:
        """Run the model as a submodel within a context."""
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


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone of a segmentor or classifier.

    Raises:
        ValueError: If it has none.
    """
    backbone: Any = getattr(model, 'backbone', None)
    if backbone is None and type(model).__name__ == 'TimmClassifier':
        backbone = model.model
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no backbone: it is neither a segmentor of '
            'MMSegmentation nor a classifier of MMPretrain.'
        )
    return backbone


def example_image(model: nn.Module, shape: Shape) -> Tensor:
    """Return a fixed noise image, as after preprocessing.

    Args:
        model (nn.Module): The model.
        shape (tuple[int, int]): Height and width.

    Returns:
        Tensor: Of shape (1, channels, height, width).
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, input_channels(model), *shape, generator=generator)


def evaluation_shape(cfg: Any, given: Sequence[int] | None = None) -> Shape:
    """Return height and width of the images in evaluation.

    Args:
        cfg (Config): The config.
        given (Sequence[int], optional): One or two numbers from the user. Defaults to
            None: the sliding window, the padded size, the backbone's size, or else the
            usual size.

    Raises:
        ValueError: If there are more numbers, or one is below 1.
    """
    model = cfg.model
    found = [
        given,
        (model.get('test_cfg') or {}).get('crop_size'),
        (model.get('data_preprocessor') or {}).get('size'),
        cfg.get('crop_size'),
        (model.get('backbone') or {}).get('img_size'),
    ]
    size = next((each for each in found if each), None)
    return image_shape([size] if isinstance(size, int) else size, cfg)
