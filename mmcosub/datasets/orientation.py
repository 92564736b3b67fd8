"""Images rotated by EXIF orientation while their label maps are not."""

from collections.abc import Sequence
from typing import Any

from mmcosub.datasets.synthetic.opening import opened

TAG = 0x0112


def orientation_of(path: str | None) -> int:
    """Return the EXIF orientation (1 to 8); 1 if unset or unreadable."""
    try:
        with opened(path or '') as image:
            return image.getexif().get(TAG, 1)
    except (OSError, SyntaxError, ValueError):
        return 1


def is_turned_alone(path: str | None, loader: Any) -> bool:
    """Return True if a loader rotates an image and sizes do not reveal it.

    Args:
        path (str, optional): The image.
        loader (Any): MMCV's ``LoadImageFromFile``, or None.
    """
    if getattr(loader, 'color_type', None) not in ('color', 'grayscale'):
        return False
    orientation = orientation_of(path)
    if orientation < 2 or loader.imdecode_backend == 'turbojpeg':
        return False
    with opened(path or '') as image:
        return orientation < 5 or image.width == image.height


def explain_turned(paths: Sequence[str], looked_at: int) -> str:
    """Explain that images are rotated, with the remedy.

    Args:
        paths (Sequence[str]): The images.
        looked_at (int): Number of images that were checked.
    """
    return (
        f'{len(paths)} of {looked_at} images have an EXIF orientation by which the '
        f'loader turns them, but not their labels; the first is {paths[0]}. If the '
        'labels were drawn on the pixels as stored, set color_type='
        "'color_ignore_orientation' in LoadImageFromFile."
    )
