"""Opening of images with Pillow."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


@contextmanager
def opened(path: str) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow.

    Pillow raises above 179 million pixels, as a protection against decompression bombs.
    Maps and scans for training can be larger, and OpenCV reads them.

    Raises:
        OSError: If it cannot be opened.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = most
