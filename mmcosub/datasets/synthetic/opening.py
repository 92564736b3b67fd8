"""Opening of images with Pillow."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


@contextmanager
def opened(path: str) -> Iterator[Image.Image]:
    """Open an image of any size with Pillow.

    Pillow warns of pictures above 89 million pixels and refuses those of twice as many,
    for what strangers send. Maps and scans for training are larger, and OpenCV reads
    them.

    Args:
        path (str): The file.

    Raises:
        OSError: If it cannot be opened.
    """
    most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = most
