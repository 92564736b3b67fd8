"""EXIF orientation: loaders that turn an image, but not its label map."""

from collections.abc import Sequence
from typing import Any

from .opening import opened

TAG = 0x0112


def orientation_of(path: str | None) -> int:
    """EXIF orientation of an image, 1 to 8; 1 where none is set or it cannot be read.

    Args:
        path (str, optional): The file.
    """
    try:
        with opened(path or '') as image:
            return image.getexif().get(TAG, 1)
    except (OSError, SyntaxError, ValueError):
        return 1


def is_turned_alone(path: str | None, loader: Any) -> bool:
    """Does a loader turn an image whose size does not tell whether the label is turned?

    Args:
        path (str, optional): The image.
        loader (Any): MMCV's ``LoadImageFromFile``; None loads nothing.
    """
    if getattr(loader, 'color_type', None) not in ('color', 'grayscale'):
        return False
    orientation = orientation_of(path)
    if orientation < 2 or loader.imdecode_backend == 'turbojpeg':
        return False
    with opened(path or '') as image:
        return orientation < 5 or image.width == image.height


def explain_turned(paths: Sequence[str], looked_at: int) -> str:
    """Say that images are turned, and what to do if the labels are not.

    Args:
        paths (Sequence[str]): The images.
        looked_at (int): How many were looked at.
    """
    return (
        f'{len(paths)} of {looked_at} images have an EXIF orientation by which the '
        f'loader turns them, but not their labels; the first is {paths[0]}. If the '
        'labels were drawn on the pixels as stored, set color_type='
        "'color_ignore_orientation' in LoadImageFromFile."
    )
