"""Random masks of images, patches and tokens.

Shapes: ``B`` images, ``N`` tokens or units, ``K`` of them kept, ``C`` channels.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .branches import Site, class_names
from .plan import to_device

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
    """Choose the mask for a backbone.

    It is 'tokens' (removed, in a ViT), 'patches' (replaced by a learned token after the
    patch embedding, in a Swin) or 'pixels' (set to 0, in networks that are
    convolutional or need all tokens).
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


class MaskedPatches:
    """Context that replaces patches by a token, (C, ), after the patch embedding.

    Masks units of 32 pixels of images (B, 3, height, width), the same whenever the
    context is entered. The backbone's ``patch_embed`` returns (B, N, C) and (rows,
    columns).
    """

    def __init__(
        self,
        backbone: Any,
        images: Tensor,
        ratio: float,
        token: Tensor,
        rng: np.random.Generator,
    ) -> None:
        self.embedding = backbone.patch_embed
        self.width = images.shape[-1]
        self.units = _unit_mask(images, ratio, rng)
        self.token = token

    @contextmanager
    def __call__(self) -> Iterator[None]:
        handle = self.embedding.register_forward_hook(self._replace)
        try:
            yield
        finally:
            handle.remove()

    def _replace(self, module: nn.Module, args: Any, output: Any) -> Any:
        x, (rows, columns) = output
        side = round(UNIT * columns / self.width)
        mask = _enlarge(self.units, max(side, 1), (rows, columns)).flatten(1)
        return torch.where(mask[..., None], self.token.to(x), x), (rows, columns)


@dataclass
class RemovedTokens:
    """Context that runs a ViT's blocks without a random part of the patch tokens.

    The tokens are the same whenever the context is entered.
    """

    blocks: Sequence[nn.Module]
    restored: Sequence[nn.Module]
    """Blocks whose output is a feature map. There, ``token``, of shape (C, ), fills the
    places of the removed tokens; the next block gets the kept tokens alone."""
    extra_tokens: int
    """Number of tokens before the patch tokens. They are kept."""
    ratio: float
    """Fraction of patches to remove, in [0, 1)."""
    token: Tensor | None
    rng: np.random.Generator
    index: Tensor | None = None  # known with the first block's input
    length: int = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with ExitStack() as stack:
            for block in self.blocks:
                stack.callback(block.register_forward_pre_hook(self._take).remove)
            for block in self.restored:
                stack.callback(block.register_forward_hook(self._restore).remove)
            yield

    def _take(self, module: nn.Module, args: tuple) -> tuple:
        x = args[0]
        if self.index is None:
            self.length = x.shape[1]
            self.index = self._draw(x)
        if x.shape[1] != self.length:
            return args
        index = self.index[..., None].expand(-1, -1, x.shape[2])
        return x.gather(1, index), *args[1:]

    def _draw(self, x: Tensor) -> Tensor:
        """Draw the indices of the tokens to keep, of shape (B, K)."""
        mask = draw_mask(len(x), self.length - self.extra_tokens, self.ratio, self.rng)
        kept = np.nonzero(~mask)[1].reshape(len(x), -1) + self.extra_tokens
        first = np.tile(np.arange(self.extra_tokens), (len(x), 1))
        return to_device(np.concatenate([first, kept], axis=1), x.device)

    def _restore(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        assert self.index is not None
        assert self.token is not None
        full = self.token.to(output).expand(len(output), self.length, -1)
        return full.scatter(1, self.index[..., None].expand_as(output), output)


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
