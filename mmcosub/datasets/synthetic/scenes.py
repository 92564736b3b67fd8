"""Parts of synthetic scenes: backgrounds, distractors, and items placed on them.

Shapes: a scene is of ``size`` x ``size`` pixels, in BGR, values 0 to 255.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Plane = NDArray[np.float64]

PALETTE = [
    [40, 40, 48], [230, 57, 70], [244, 140, 6], [255, 209, 62], [112, 193, 60],
    [36, 161, 116], [64, 201, 214], [58, 120, 230], [120, 86, 220], [206, 96, 210],
    [246, 150, 190],
]  # fmt: skip
"""Colours of the background and ten classes, in RGB."""

PLACES = 30
"""Number of attempts to place an item before it is left out."""


class ScenesDataset(BaseSegDataset):
    """Scenes on disk, in ADE20K's layout.

    Args:
        img_suffix (str): Suffix of image files. Defaults to '.png'.
        seg_map_suffix (str): Suffix of label files. Defaults to '.png'.
        **kwargs: Arguments of ``BaseSegDataset``.
    """

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: object
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


@dataclass(frozen=True)
class Layout:
    """Placement of items in a scene.

    Args:
        items (tuple[int, int]): Minimum and maximum number of items.
        scale (tuple[float, float]): Minimum and maximum height of an item, as a
            fraction of the scene's, in (0, 1].
        angle (float): Maximum rotation either way, in degrees.
        overlap (float): Maximum overlap of two items, as a fraction in [0, 1] of the
            smaller one. Defaults to 1, any.

    Raises:
        ValueError: If a value is out of its range.
    """

    items: tuple[int, int]
    scale: tuple[float, float]
    angle: float
    overlap: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.items[0] <= self.items[1]:
            raise ValueError(
                f'--items must be two numbers of at least 1, the fewest first, not '
                f'{list(self.items)}.'
            )
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f'--scale must be two shares in (0, 1], the smallest first, not '
                f'{list(self.scale)}.'
            )
        if not 0 <= self.overlap <= 1:
            raise ValueError(f'--overlap must be in [0, 1], not {self.overlap}.')
        if not 0 <= self.angle <= 180:
            raise ValueError(f'--angle must be in [0, 180], not {self.angle}.')

    def check_size(self, size: int, smallest: int) -> None:
        """Raise if a scene is too small to tell items apart.

        Args:
            size (int): Height and width of the scene in pixels.
            smallest (int): Minimum height of an item in pixels.

        Raises:
            ValueError: If the smallest item has fewer.
        """
        if size * self.scale[0] < smallest:
            least = int(np.ceil(smallest / self.scale[0]))
            raise ValueError(
                f'In a scene of --size {size} the smallest item would be '
                f'{size * self.scale[0]:.0f} pixels high, and it takes {smallest} to '
                f'tell what it is. Pass --size {least} or more, or a --scale that '
                f'begins above {self.scale[0]:g}.'
            )


Drawn = tuple[Plane, NDArray[np.bool_], int]
Draw = Callable[[Plane, NDArray[np.float64]], Drawn]
Pick = Callable[[], tuple[tuple[int, int], Draw]]


def compose(
    image: Plane,
    layout: Layout,
    rng: np.random.Generator,
    pick: Pick,
) -> tuple[Plane, Image]:
    """Draw items over a background, later ones on top.

    Args:
        image (ndarray): Background, of shape (size, size, 3).
        layout (Layout): Placement of the items.
        rng (Generator): Source of all randomness.
        pick (Callable): Returns an item's size (height, width) and a function that
            draws it. The function takes the image and the (2, 3) matrix of the
            placement, and returns the new image, the mask of shape (size, size) and the
            label.

    Returns:
        tuple: Image, and label map of shape (size, size), 0 for the background.
    """
    size = len(image)
    label = np.zeros((size, size), np.uint8)
    masks: list[NDArray[np.bool_]] = []
    for _ in range(rng.integers(layout.items[0], layout.items[1] + 1)):
        shape, draw = pick()
        for _ in range(PLACES):
            matrix = place(shape, size, layout, rng)
            painted, mask, value = draw(image, matrix)
            if _free(mask, masks, layout.overlap):
                image = painted
                label[mask] = value
                masks.append(mask)
                break
    return image, label


def _free(
    mask: NDArray[np.bool_], others: list[NDArray[np.bool_]], overlap: float
) -> bool:
    if overlap == 1:
        return True
    for other in others:
        smaller = max(min(mask.sum(), other.sum()), 1)
        if (mask & other).sum() > overlap * smaller:
            return False
    return True


def place(
    shape: tuple[int, int], size: int, layout: Layout, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the matrix that scales, rotates and moves an item.

    Args:
        shape (tuple[int, int]): Height and width of the item.
        size (int): Height and width of the scene.
        layout (Layout): Scale and angle.
        rng (Generator): Source of all randomness.
    """
    height = size * rng.uniform(*layout.scale)
    angle = rng.uniform(-layout.angle, layout.angle)
    centre = rng.uniform(height / 2, size - height / 2, 2)
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    matrix = np.asarray(
        cv2.getRotationMatrix2D(middle, angle, height / shape[0]), float
    )
    matrix[:, 2] += centre - middle
    return matrix


def warp(item: NDArray[Any], matrix: NDArray[np.float64], size: int) -> Plane:
    """Warp an item to its place in a scene, 0 around it.

    Args:
        item (ndarray): Of shape (height, width).
        matrix (ndarray): From :func:`place`.
        size (int): Height and width of the scene.
    """
    return cv2.warpAffine(
        item.astype(np.float32), matrix, (size, size), flags=cv2.INTER_CUBIC
    ).astype(np.float64)


# ---- grounds and distractors -----------------------------------------------------


def texture(size: int, rng: np.random.Generator, brightest: float = 130) -> Plane:
    """Return multi-octave noise between two colours, sometimes striped.

    Args:
        size (int): Height and width in pixels.
        rng (Generator): Source of all randomness.
        brightest (float): Largest value. Defaults to 130.
    """
    noise: Plane = np.zeros((size, size))
    for octave in range(1, 6):
        cells = 2**octave
        grid = rng.random((cells, cells)).astype(np.float32)
        noise += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) / octave
    if rng.random() < 0.4:
        y, x = np.mgrid[:size, :size] / size
        angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 14)
        noise += 0.5 * np.sin(waves * np.pi * (x * np.cos(angle) + y * np.sin(angle)))
    noise = (noise - noise.min()) / (np.ptp(noise) + 1e-9)
    low, high = rng.uniform(0, brightest, (2, 3))
    return low + (high - low) * noise[..., None] * rng.uniform(0.4, 1.0)


def bright(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a random colour with at least one bright channel.

    Args:
        rng (Generator): Source of all randomness.
    """
    colour = rng.uniform(90, 255, 3)
    colour[rng.integers(3)] = rng.uniform(200, 255)
    return colour


def scribble(image: Plane, rng: np.random.Generator) -> None:
    """Draw a random stroke as a distractor.

    Args:
        image (ndarray): Of shape (size, size, 3), changed in place.
        rng (Generator): Source of all randomness.
    """
    size, colour = len(image), 0.7 * bright(rng)
    start = rng.uniform(0, size, 2)
    turns = rng.uniform(-size / 4, size / 4, (rng.integers(2, 5), 2))
    points = np.cumsum([start, *turns], axis=0).astype(np.int32)
    width = int(rng.integers(1, max(size // 32, 2)))
    cv2.polylines(image, [points], False, colour.tolist(), width, cv2.LINE_AA)


def finish(image: Plane, rng: np.random.Generator) -> Image:
    """Add camera noise to a scene and convert it to bytes.

    Args:
        image (ndarray): Of shape (size, size, 3).
        rng (Generator): Source of all randomness.
    """
    image = image + rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)
