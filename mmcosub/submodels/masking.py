"""Random masks, and running a backbone under them.

Shapes: ``B`` images, ``N`` tokens or units, ``K`` of them kept, ``C`` channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .branches import Site

UNIT = 32
"""Side of a masked unit in pixels, where tokens cannot be removed (AugSub's code)."""

_TOKENS = (
    'mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer',
    'mmseg.models.backbones.vit.TransformerEncoderLayer',
    'timm.models.vision_transformer.Block',
)
_PATCHES = (
    'mmpretrain.models.backbones.swin_transformer.SwinBlock',
    'mmpretrain.models.backbones.swin_transformer_v2.SwinBlockV2',
    'mmseg.models.backbones.swin.SwinBlock',
)


def draw_mask(
    batch: int, number: int, ratio: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Mask ``number - int(number * (1 - ratio))`` of the units of each image.

    Args:
        batch (int): Number of images B.
        number (int): Number of units N of each.
        ratio (float): Share to mask, in [0, 1).
        rng (Generator): Source of all randomness.

    Returns:
        ndarray: True where masked, of shape (B, N).

    Raises:
        ValueError: If none would be left.
    """
    kept = int(number * (1 - ratio))
    if kept < 1:
        raise ValueError(
            f'A mask ratio of {ratio} leaves none of {number} units: set scheme.ratio '
            f'to {1 - 1 / number:.3f} at most, or take larger images.'
        )
    return rng.random((batch, number)).argsort(axis=1).argsort(axis=1) >= kept


def masking_kind(sites: Sequence[Site]) -> str:
    """How a backbone is masked.

    Args:
        sites (Sequence[Site]): Its branches.

    Returns:
        str: 'tokens' (removed: ViT), 'patches' (replaced by a learned token behind the
        patch embedding: Swin) or 'pixels' (zeroed: networks of convolutions).
    """
    cls = type(sites[0].block)
    names = {f'{c.__module__}.{c.__qualname__}' for c in cls.__mro__}
    if names & set(_TOKENS):
        return 'tokens'
    return 'patches' if names & set(_PATCHES) else 'pixels'


def mask_pixels(images: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """Images with units of pixels set to 0, the mean colour after normalisation.

    Args:
        images (Tensor): Normalised, of shape (B, 3, height, width).
        ratio (float): Share of units to mask, in [0, 1).
        rng (Generator): Source of all randomness.
    """
    keep = ~_unit_mask(images, ratio, rng)
    pixels = _enlarge(keep, UNIT, images.shape[-2:])
    return images * pixels[:, None].to(images)


@contextmanager
def masked_patches(
    backbone: Any, images: Tensor, ratio: float, token: Tensor, rng: np.random.Generator
) -> Iterator[None]:
    """Replace patches by a token behind the patch embedding, in units of pixels.

    Args:
        backbone (nn.Module): Its ``patch_embed`` returns (B, N, C) and (rows, columns).
        images (Tensor): Of shape (B, 3, height, width).
        ratio (float): Share of units to mask, in [0, 1).
        token (Tensor): Of shape (C, ).
        rng (Generator): Source of all randomness.
    """
    units = _unit_mask(images, ratio, rng)

    def replace(module: nn.Module, args: Any, output: Any) -> Any:
        x, (rows, columns) = output
        side = round(UNIT * columns / images.shape[-1])
        mask = _enlarge(units, max(side, 1), (rows, columns)).flatten(1)
        return torch.where(mask[..., None], token.to(x), x), (rows, columns)

    handle = backbone.patch_embed.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def removed_tokens(
    sites: Sequence[Site],
    restored: Sequence[nn.Module],
    prefix: int,
    ratio: float,
    token: Tensor | None,
    rng: np.random.Generator,
) -> Iterator[None]:
    """Run a ViT's blocks without a random part of the patches' tokens.

    Args:
        sites (Sequence[Site]): Its branches.
        restored (Sequence[Module]): Blocks whose output is a feature map: there, the
            removed tokens are put back as ``token``, and taken out again after it.
        prefix (int): Number of tokens before the patches', which are kept.
        ratio (float): Share of patches to remove, in [0, 1).
        token (Tensor, optional): Of shape (C, ). None if there is no such block.
        rng (Generator): Source of all randomness.
    """
    index: Tensor | None = None
    length = 0

    def take(module: nn.Module, args: tuple) -> tuple:
        nonlocal index, length
        x = args[0]
        if index is None:
            length = x.shape[1]
            mask = draw_mask(len(x), length - prefix, ratio, rng)
            kept = np.nonzero(~mask)[1].reshape(len(x), -1) + prefix
            first = np.broadcast_to(np.arange(prefix), (len(x), prefix))
            index = torch.from_numpy(np.concatenate([first, kept], axis=1))
            index = index.to(x.device, non_blocking=True)
        if x.shape[1] != length:
            return args
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[2])), *args[1:]

    def restore(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        assert index is not None
        assert token is not None
        full = token.to(output).expand(len(output), length, -1)
        return full.scatter(1, index[..., None].expand_as(output), output)

    blocks = list(dict.fromkeys(site.block for site in sites))
    with ExitStack() as stack:
        for block in blocks:
            stack.callback(block.register_forward_pre_hook(take).remove)
        for block in restored:
            stack.callback(block.register_forward_hook(restore).remove)
        yield


def _unit_mask(images: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """True where masked, of shape (B, rows, columns) of units."""
    rows, columns = (-(-size // UNIT) for size in images.shape[-2:])
    mask = draw_mask(len(images), rows * columns, ratio, rng)
    mask = mask.reshape(-1, rows, columns)
    return torch.from_numpy(mask).to(images.device, non_blocking=True)


def _enlarge(units: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """Units of ``side`` by ``side`` places, cut to ``size``."""
    places = units.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return places[:, : size[0], : size[1]]
