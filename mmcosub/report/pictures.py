"""Images, label maps and disagreement, embedded in the page."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE = 256
_UNLABELLED = (127, 127, 127)
_HEAT = (220, 38, 38)


def image_uri(image: NDArray[np.uint8]) -> str:
    """Return an image as a data URI.

    Args:
        image (ndarray): In RGB, of shape (H, W, 3).
    """
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE))
    # JPEG blocks are visible in small images.
    return _uri(picture, 'PNG' if max(picture.size) <= 64 else 'JPEG')


def classes_uri(classes: NDArray[np.int64], palette: NDArray[np.uint8]) -> str:
    """Return a map of classes as a data URI.

    Args:
        classes (ndarray): Of shape (H, W); other values are gray.
        palette (ndarray): Colours in RGB, of shape (C, 3).
    """
    colours = np.vstack([palette, _UNLABELLED]).astype(np.uint8)
    known = (classes >= 0) & (classes < len(palette))
    picture = colours[np.where(known, classes, len(palette))]
    return _uri(_nearest(Image.fromarray(picture)), 'PNG')


def share_uri(shares: NDArray[np.float64]) -> str:
    """Return a map of fractions as a data URI, transparent at 0.

    Args:
        shares (ndarray): In [0, 1], of shape (H, W).
    """
    picture = np.empty((*shares.shape, 4), dtype=np.uint8)
    picture[..., :3] = _HEAT
    picture[..., 3] = (255 * shares).round()
    return _uri(_nearest(Image.fromarray(picture)), 'PNG')


def _nearest(picture: Image.Image) -> Image.Image:
    scale = min(1.0, _SIDE / max(picture.size))
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    return picture.resize(size, Image.Resampling.NEAREST)  # type: ignore[arg-type]


def _uri(picture: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'data:image/{kind.lower()};base64,{text}'
