"""Random masks of images, patches and tokens.

Shapes: ``B`` images, ``N`` tokens or units, ``K`` of them kept, ``C`` channels.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .branches import Site, class_names
from .isolation import hooked
from .plan import to_device

Context = Callable[[], AbstractContextManager]

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
    """Mask all but ``number * (1 - ratio)``, rounded down, of each image's N units.

    True where masked, of shape (B, N). Raises a ``ValueError`` if none would be left.
    """
    kept = int(number * (1 - ratio) + 1e-9)  # 10 * (1 - 0.9) is just below 1
    if kept < 1:
        most = np.floor(1000 * (1 - 1 / number)) / 1000
        lower = f'set scheme.ratio to {most:g} at most, or ' if most else ''
        raise ValueError(
            f'A mask ratio of {ratio} leaves none of {number} units: {lower}take '
            f'larger images (a unit has {UNIT} pixels, a token those of its patch).'
        )
    return rng.random((batch, number)).argsort(axis=1).argsort(axis=1) >= kept


def masking_mode(sites: Sequence[Site]) -> str:
    """Choose how a backbone's images are masked.

    'tokens' are removed, in a ViT; 'patches' replaced by a learned token, in a Swin;
    'pixels' set to 0 elsewhere.
    """
    cls: Any = type(sites[0].block)
    known = dict(zip(class_names(cls), cls.__mro__, strict=True))
    # BEiT and MAE need all tokens: their attention has a bias per pair of positions.
    # So does PiT, between whose stages tokens become a map.
    vits = [vit for name, vit in known.items() if name in _TOKENS]
    inherited = any(cls.forward is vit.forward for vit in vits)
    if inherited and len({site.stage for site in sites}) == 1:
        return 'tokens'
    return 'patches' if known.keys() & set(_PATCHES) else 'pixels'


def mask_pixels(images: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """Set units of pixels to 0, the mean colour after normalisation.

    Images have shape (B, 3, height, width); the ratio of masked units is in [0, 1).
    """
    keep = ~_unit_mask(images, ratio, rng)
    pixels = _enlarge(keep, UNIT, images.shape[-2:])
    return images * pixels[:, None].to(images)


def masked_patches(
    backbone: Any,
    images: Tensor,
    ratio: float,
    token: Tensor,
    rng: np.random.Generator,
) -> Context:
    """Return a context that replaces patches by a token, (C, ), after their embedding.

    The mask of images (B, 3, height, width) is drawn here, in units of 32 pixels.
    """
    units, width = _unit_mask(images, ratio, rng), images.shape[-1]

    def replace(module: nn.Module, args: Any, output: Any) -> Any:
        x, (rows, columns) = output
        side = round(UNIT * columns / width)
        mask = _enlarge(units, max(side, 1), (rows, columns)).flatten(1)
        return torch.where(mask[..., None], token.to(x), x), (rows, columns)

    return partial(hooked, [(backbone.patch_embed.register_forward_hook, replace)])


def removed_tokens(
    blocks: Sequence[nn.Module],
    restored: Sequence[nn.Module],
    extra: int,
    ratio: float,
    token: Tensor | None,
    rng: np.random.Generator,
) -> Context:
    """Return a context that runs a ViT's blocks without some of the patch tokens.

    A random fraction ``ratio`` of them is removed, none of the ``extra`` tokens before.
    ``token`` (C, ) fills their places in the outputs of ``restored`` blocks.
    """
    drawn: list[tuple[Tensor, int]] = []  # kept tokens (B, K), and the number of all

    def take(module: nn.Module, args: tuple) -> tuple:
        x = args[0]
        if not drawn:
            mask = draw_mask(len(x), x.shape[1] - extra, ratio, rng)
            kept = np.nonzero(~mask)[1].reshape(len(x), -1) + extra
            first = np.tile(np.arange(extra), (len(x), 1))
            index = to_device(np.concatenate([first, kept], axis=1), x.device)
            drawn.append((index, x.shape[1]))
        index, length = drawn[0]
        if x.shape[1] != length:
            return args
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[2])), *args[1:]

    def restore(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        assert token is not None
        index, length = drawn[0]
        full = token.to(output).expand(len(output), length, -1)
        return full.scatter(1, index[..., None].expand_as(output), output)

    return partial(
        hooked,
        [
            *((block.register_forward_pre_hook, take) for block in blocks),
            *((block.register_forward_hook, restore) for block in restored),
        ],
    )


def _unit_mask(images: Tensor, ratio: float, rng: np.random.Generator) -> Tensor:
    """Draw a mask of units, True where masked, of shape (B, rows, columns)."""
    rows, columns = (-(-size // UNIT) for size in images.shape[-2:])
    mask = draw_mask(len(images), rows * columns, ratio, rng)
    mask = mask.reshape(-1, rows, columns)
    return to_device(mask, images.device)


def _enlarge(units: Tensor, side: int, size: Sequence[int]) -> Tensor:
    """Enlarge a mask by ``side``, and crop it to ``size``."""
    places = units.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return places[:, : size[0], : size[1]]
