"""Image files: opening, headers, EXIF orientation, and images for display."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import cv2
import mmcv
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base

_DEPTH = {'I': 32, 'F': 32, '1': 1}
_NAMES = {
    **dict.fromkeys(('L', 'I;16', 'I;16B', 'I;16L', *_DEPTH), 'grey'),
    **{'P': 'palette', 'LA': 'grey+alpha'},
}

_opening = Lock()
T = TypeVar('T')
R = TypeVar('R')


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow.

    Maps and scans can be above its limit of 179 million pixels, and OpenCV reads them.
    """
    with _opening:  # other threads read the limit
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = most
    with image:
        yield image


class Header(NamedTuple):
    """Pillow's mode or 'N channels', bits of a channel, size as stored, orientation.

    The size is width and height; the orientation is EXIF's (1 to 8).
    """

    mode: str
    depth: int
    size: tuple[int, int]
    orientation: int

    @property
    def kind(self) -> str:
        """Mode and depth in words."""
        return f'{_NAMES.get(self.mode, self.mode)} of {self.depth} bits'

    @property
    def displayed(self) -> tuple[int, int]:
        """Width and height after turning by the orientation."""
        return self.size[::-1] if self.orientation > 4 else self.size


def read_header(path: str | Path) -> Header:
    """Read a header; raise a ``ValueError`` if the file cannot be opened."""
    try:
        with opened(path) as image:
            deep = ';16' in str(getattr(image, 'tile', ''))
            depth = 16 if deep else _DEPTH.get(image.mode, 8)
            orientation = image.getexif().get(Base.Orientation, 1)
            return Header(image.mode, depth, image.size, orientation)
    except UnidentifiedImageError:  # also of TIFFs that others read
        raw, _ = read_raw(path)
        mode = f'{math.prod(raw.shape[2:])} channels'
        return Header(mode, 8 * raw.itemsize, raw.shape[1::-1], 1)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f'{path} cannot be read ({error}). Replace it.') from error


def read_raw(path: str | Path) -> tuple[NDArray, str]:
    """Read an image with all its channels and bits, and by which backend of MMCV.

    OpenCV reads up to four channels, tifffile more.
    """
    cv2.utils.logging.setLogLevel(0)  # tifffile may read what OpenCV does not
    content = Path(path).read_bytes()
    for backend in ('cv2', 'tifffile'):
        with suppress(Exception):  # of any kind, also if tifffile is not installed
            image = mmcv.imfrombytes(content, 'unchanged', backend=backend)
            if image is not None:
                return image, backend
    raise ValueError(
        f'{path} cannot be read. Replace it; a TIFF of more than 4 channels needs: pip '
        'install tifffile imagecodecs.'
    )


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
    suffixes: Iterable[str],
    sizes: Iterable[tuple[int, int]],
    headers: Iterable[Header],
) -> str:
    """Describe images by their suffixes, smallest and largest size, and kinds."""
    ordered = sorted({*sizes}, key=math.prod)
    ends = dict.fromkeys(f'{w}x{h}' for w, h in (ordered[0], ordered[-1]))
    kinds = ', '.join(dict.fromkeys(header.kind for header in headers))
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
