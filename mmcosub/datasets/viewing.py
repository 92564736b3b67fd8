"""Choice of images to look at, and their conversion for display."""

import numpy as np
from numpy.typing import NDArray


def viewable(image: NDArray) -> NDArray[np.uint8]:
    """Convert an image to 8 bits and three channels.

    One channel is shown in grey. Of more than three, the first three are used; a
    missing third is black. Values outside of 0 to 255 are rescaled.

    Args:
        image (ndarray): Of shape (H, W) or (H, W, channels).

    Returns:
        ndarray: Of shape (H, W, 3), in the given order of channels.
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
    """Return evenly spaced indices, the first and the last included."""
    return np.linspace(0, total - 1, number).round().astype(int).tolist()
