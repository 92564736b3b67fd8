"""Image files: opening, headers, EXIF orientation, and images for display."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

_DEPTH = {'I;16': 16, 'I;16B': 16, 'I;16L': 16, 'I': 32, 'F': 32, '1': 1}
_NAMES = {
    **dict.fromkeys(('L', *_DEPTH), 'grey'),
    **{'P': 'palette', 'LA': 'grey+alpha'},
}

T = TypeVar('T')
R = TypeVar('R')


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow.

    Maps and scans can be above its limit of 179 million pixels, and OpenCV reads them.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = most


class Header(NamedTuple):
    """Pillow's mode, width and height as stored, and EXIF orientation (1 to 8)."""

    mode: str
    size: tuple[int, int]
    orientation: int

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height after turning by the orientation."""
        return self.size[::-1] if self.orientation > 4 else self.size


def read_header(path: str | Path) -> Header:
    """Read a header; raise a ``ValueError`` if the file cannot be opened."""
    try:
        with opened(path) as image:
            orientation = image.getexif().get(Base.Orientation, 1)
            return Header(image.mode, image.size, orientation)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{path} cannot be read ({error}). Replace it.') from error


def orientation_of(path: str | None) -> int:
    """Return the EXIF orientation of a file; 1 if unset or unreadable."""
    try:
        return read_header(path or '').orientation
    except ValueError:
        return 1


def is_turned_alone(path: str | None, loader: Any) -> bool:
    """Return True if MMCV's loader, if any, rotates an image and sizes do not tell."""
    turns = getattr(loader, 'color_type', None) in ('color', 'grayscale')
    if not turns or loader.imdecode_backend == 'turbojpeg' or orientation_of(path) < 2:
        return False
    header = read_header(path or '')
    return header.orientation < 5 or header.size == header.displayed


def explain_turned(paths: Sequence[str], looked_at: int) -> str:
    """Say that some of the images looked at are rotated, with the remedy."""
    return (
        f'{len(paths)} of {looked_at} images have an EXIF orientation by which the '
        f'loader turns them, but not their labels; the first is {paths[0]}. If the '
        'labels were drawn on the pixels as stored, set color_type='
        "'color_ignore_orientation' in LoadImageFromFile."
    )


def describe_images(
    suffixes: Iterable[str], sizes: Iterable[tuple[int, int]], modes: Iterable[str]
) -> str:
    """Describe images by their suffixes, smallest and largest size, and modes."""
    ordered = sorted({*sizes}, key=math.prod)
    ends = dict.fromkeys(f'{w}x{h}' for w, h in (ordered[0], ordered[-1]))
    kinds = ', '.join(
        f'{_NAMES.get(mode, mode)} of {_DEPTH.get(mode, 8)} bits'
        for mode in dict.fromkeys(modes)
    )
    return f'{", ".join(sorted({*suffixes}))}, {" to ".join(ends)} pixels, {kinds}'


def in_threads(
    function: Callable[[T], R], items: Mapping[str, T]
) -> Iterator[tuple[str, R]]:
    """Apply a function to the values of a mapping; yield names and results in order."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from zip(items, pool.map(function, items.values()), strict=True)


# ---- display ---------------------------------------------------------------------


def viewable(image: NDArray) -> NDArray[np.uint8]:
    """Convert an image (H, W) or (H, W, channels) to 8 bits and three channels.

    One channel is shown in grey. Of more than three, the first three are used; a
    missing third is black. Values outside of 0 to 255 are rescaled.
    """
    image = image[..., None] if image.ndim == 2 else image[..., :3]
    if image.shape[-1] == 1:
        image = image.repeat(3, axis=-1)
    if image.shape[-1] == 2:
        image = np.concatenate([image, np.zeros_like(image[..., :1])], axis=-1)
    if image.dtype != np.uint8:
        image = np.nan_to_num(image.astype(np.float64))
        low, high = image.min(), image.max()
        if low < 0 or high > 255 or high <= 1:
            image = (image - low) / max(high - low, 1e-12) * 255
    return np.ascontiguousarray(image.astype(np.uint8))


def evenly_spread(total: int, number: int) -> list[int]:
    """Return evenly spaced indices, the first and the last included, or all."""
    return np.linspace(0, total - 1, min(number, total)).round().astype(int).tolist()
