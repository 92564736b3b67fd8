"""Digit scenes: handwritten digits on textured grounds, with their strokes as labels.

Small, made in seconds, no download: scikit-learn brings 1,797 real handwritten digits
of 8x8 pixels. Labels are 0 for the ground and 1 + d for the digit d.
"""

import numpy as np
from numpy.typing import NDArray

from mmcosub.registry import DATASETS

from .scenes import (
    PALETTE,
    Draw,
    Drawn,
    Image,
    Layout,
    Plane,
    ScenesDataset,
    bright,
    compose,
    finish,
    place,
    scribble,
    texture,
    warp,
)

LAYOUT = Layout(items=(1, 3), scale=(0.5, 0.8), angle=12)
"""Default layout of a scene."""

ALONE = Layout(items=(1, 1), scale=(0.75, 0.95), angle=12)
"""Layout of an image of :func:`make_digit`."""


@DATASETS.register_module()
class DigitScenesDataset(ScenesDataset):
    """Digit scenes on disk, in ADE20K's layout."""

    METAINFO = dict(classes=('background', *'0123456789'), palette=PALETTE)


def split_digits(validation: float = 0.3) -> dict[str, list[Image]]:
    """Return the disjoint, fixed digits of training and validation.

    Args:
        validation (float): Fraction of each class used for validation. Defaults to 0.3.

    Returns:
        dict[str, list[ndarray]]: For 'training' and 'validation', ten arrays, one a
        digit, of shape (N, 8, 8), values 0 to 255.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    parts: dict[str, list[Image]] = dict(training=[], validation=[])
    for digit in range(10):
        of_class = images[digits.target == digit]
        # The data are sorted by writer, so validation has mostly other writers.
        first = round(len(of_class) * (1 - validation))
        parts['training'].append(of_class[:first])
        parts['validation'].append(of_class[first:])
    return parts


def make_scene(
    digits: list[Image], size: int, rng: np.random.Generator, layout: Layout = LAYOUT
) -> tuple[Image, Image]:
    """Make one scene.

    Args:
        digits (list[ndarray]): Ten arrays of shape (N, 8, 8), one a digit.
        size (int): Height and width in pixels, 32 or more.
        rng (Generator): Source of all randomness.
        layout (Layout): Number, size and placement of digits. Defaults to one to three
            that may overlap.

    Returns:
        tuple: Image in BGR of shape (size, size, 3), and label map of shape
        (size, size).
    """
    image = texture(size, rng)
    for _ in range(rng.integers(1, 5)):  # distractors
        scribble(image, rng)

    def pick() -> tuple[tuple[int, int], Draw]:
        digit = int(rng.integers(10))
        glyph = digits[digit][rng.integers(len(digits[digit]))]

        def draw(image: Plane, matrix: NDArray[np.float64]) -> Drawn:
            stroke = warp(glyph / 255, matrix, size)
            return _paint(image, stroke, rng), stroke > 0.45, 1 + digit

        return (8, 8), draw

    image, label = compose(image, layout, rng, pick)
    return finish(image, rng), label


def make_digit(glyph: Image, size: int, rng: np.random.Generator) -> Image:
    """Make an image of one centred digit in the style of the scenes.

    Args:
        glyph (ndarray): The digit, of shape (8, 8), values 0 to 255.
        size (int): Height and width in pixels, 16 or more.
        rng (Generator): Source of all randomness.

    Returns:
        ndarray: Image in BGR of shape (size, size, 3).
    """
    image = texture(size, rng)
    matrix = place((8, 8), size, ALONE, rng)
    return finish(_paint(image, warp(glyph / 255, matrix, size), rng), rng)


def _paint(image: Plane, stroke: Plane, rng: np.random.Generator) -> Plane:
    """Draw a stroke of a bright colour on an image."""
    alpha = np.clip((stroke - 0.35) / 0.2, 0, 1)[..., None]
    colour = bright(rng) + rng.normal(0, 8, (*stroke.shape, 1))
    return image * (1 - alpha) + colour * alpha
