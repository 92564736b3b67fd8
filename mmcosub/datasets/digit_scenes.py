"""Digit scenes: handwritten digits on textured grounds, with their strokes as labels.

Made in seconds without a download: scikit-learn brings 1,797 real handwritten digits of
8x8 pixels. Labels are 0 for the ground and 1 + d for the digit d.

Shapes: a scene is of ``size`` x ``size`` pixels, in BGR, values 0 to 255.
"""

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

from mmcosub.registry import DATASETS

Image = NDArray[np.uint8]
Plane = NDArray[np.float64]

_PALETTE = [
    [40, 40, 48], [230, 57, 70], [244, 140, 6], [255, 209, 62], [112, 193, 60],
    [36, 161, 116], [64, 201, 214], [58, 120, 230], [120, 86, 220], [206, 96, 210],
    [246, 150, 190],
]  # fmt: skip
_ANGLE = 12  # largest rotation either way, in degrees


@DATASETS.register_module()
class DigitScenesDataset(BaseSegDataset):
    """Digit scenes on disk, in ADE20K's layout; arguments of ``BaseSegDataset``."""

    METAINFO = dict(classes=('background', *'0123456789'), palette=_PALETTE)

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: object
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


def split_digits(validation: float = 0.3) -> dict[str, list[Image]]:
    """Return the disjoint, fixed digits of training and validation.

    For each, ten arrays, one a digit, of shape (N, 8, 8), values 0 to 255.
    ``validation`` is its fraction of each class.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    by_class = [images[digits.target == digit] for digit in range(10)]
    # The data are sorted by writer, so validation has mostly other writers.
    ends = [round(len(of_class) * (1 - validation)) for of_class in by_class]
    return dict(
        training=[each[:end] for each, end in zip(by_class, ends, strict=True)],
        validation=[each[end:] for each, end in zip(by_class, ends, strict=True)],
    )


def make_scene(
    digits: list[Image],
    size: int,
    rng: np.random.Generator,
    items: tuple[int, int] = (1, 3),
    scale: tuple[float, float] = (0.5, 0.8),
) -> tuple[Image, Image]:
    """Make an image (size, size, 3) and its label map (size, size).

    There are from ``items[0]`` to ``items[1]`` digits, which may overlap, later ones on
    top; ``scale`` limits their height as a fraction of the scene's. The size is 32 or
    more.
    """
    image = texture(size, rng)
    for _ in range(rng.integers(1, 5)):  # distractors
        scribble(image, rng)
    label = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(items[0], items[1] + 1)):
        digit = int(rng.integers(10))
        glyph = digits[digit][rng.integers(len(digits[digit]))]
        matrix = place((8, 8), size, scale, _ANGLE, rng)
        stroke = warp(glyph / 255, matrix, size)
        image = _paint(image, stroke, rng)
        label[stroke > 0.45] = 1 + digit
    return finish(image, rng), label


def make_digit(glyph: Image, size: int, rng: np.random.Generator) -> Image:
    """Make an image (size, size, 3) of one digit (8, 8), in the style of the scenes.

    The size is 16 or more; ``rng`` is the source of all randomness.
    """
    image = texture(size, rng)
    matrix = place((8, 8), size, (0.75, 0.95), _ANGLE, rng)
    return finish(_paint(image, warp(glyph / 255, matrix, size), rng), rng)


def _paint(image: Plane, stroke: Plane, rng: np.random.Generator) -> Plane:
    """Draw a stroke of a bright colour on an image."""
    alpha = np.clip((stroke - 0.35) / 0.2, 0, 1)[..., None]
    colour = bright(rng) + rng.normal(0, 8, (*stroke.shape, 1))
    return image * (1 - alpha) + colour * alpha


# ---- parts of scenes -------------------------------------------------------------


def place(
    shape: tuple[int, ...],
    size: int,
    scale: tuple[float, float],
    angle: float,
    rng: np.random.Generator,
) -> Plane:
    """Return a (2, 3) matrix that scales, rotates and moves an item at random."""
    height = size * rng.uniform(*scale)
    turn = rng.uniform(-angle, angle)
    centre = rng.uniform(height / 2, size - height / 2, 2)
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(middle, turn, height / shape[0]), float)
    matrix[:, 2] += centre - middle
    return matrix


def warp(item: NDArray, matrix: Plane, size: int) -> Plane:
    """Warp an item to its place in a scene, 0 around it."""
    return cv2.warpAffine(
        item.astype(np.float32), matrix, (size, size), flags=cv2.INTER_CUBIC
    ).astype(np.float64)


def texture(size: int, rng: np.random.Generator, brightest: float = 130) -> Plane:
    """Return multi-octave noise between two colours, sometimes striped."""
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


def bright(rng: np.random.Generator) -> Plane:
    """Return a random colour with at least one bright channel."""
    colour = rng.uniform(90, 255, 3)
    colour[rng.integers(3)] = rng.uniform(200, 255)
    return colour


def scribble(image: Plane, rng: np.random.Generator) -> None:
    """Draw a random stroke as a distractor, in place."""
    size, colour = len(image), 0.7 * bright(rng)
    start = rng.uniform(0, size, 2)
    turns = rng.uniform(-size / 4, size / 4, (rng.integers(2, 5), 2))
    points = np.cumsum([start, *turns], axis=0).astype(np.int32)
    width = int(rng.integers(1, max(size // 32, 2)))
    cv2.polylines(image, [points], False, colour.tolist(), width, cv2.LINE_AA)


def finish(image: Plane, rng: np.random.Generator) -> Image:
    """Add camera noise and convert to bytes."""
    return np.clip(image + rng.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
