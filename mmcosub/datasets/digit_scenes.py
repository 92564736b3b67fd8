"""Digit scenes: handwritten digits on textured grounds, with their strokes as labels.

Small, made in seconds, no download: scikit-learn brings 1,797 real handwritten digits
of 8x8 pixels. Labels are 0 for the ground and 1 + d for the digit d.
"""

import cv2
import numpy as np
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

from mmcosub.registry import DATASETS

Image = NDArray[np.uint8]


@DATASETS.register_module()
class DigitScenesDataset(BaseSegDataset):
    """Digit scenes on disk, in ADE20K's layout.

    Args:
        img_suffix (str): Ending of image files. Defaults to '.png'.
        seg_map_suffix (str): Ending of label files. Defaults to '.png'.
        **kwargs: Arguments of ``BaseSegDataset``.
    """

    METAINFO = dict(
        classes=('background', *'0123456789'),
        palette=[
            [40, 40, 48], [230, 57, 70], [244, 140, 6], [255, 209, 62], [112, 193, 60],
            [36, 161, 116], [64, 201, 214], [58, 120, 230], [120, 86, 220],
            [206, 96, 210], [246, 150, 190],
        ],
    )  # fmt: skip

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs: object
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)


def split_digits(validation: float = 0.3) -> dict[str, list[Image]]:
    """The digits of training and validation, disjoint, always the same.

    Args:
        validation (float): Share of each class that is for validation. Defaults to
            0.3.

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
        # In the order of the data, which goes by writer: so other writers, mostly.
        first = round(len(of_class) * (1 - validation))
        parts['training'].append(of_class[:first])
        parts['validation'].append(of_class[first:])
    return parts


def make_scene(
    digits: list[Image], size: int, rng: np.random.Generator
) -> tuple[Image, Image]:
    """Make one scene.

    Args:
        digits (list[ndarray]): Ten arrays of shape (N, 8, 8), one a digit.
        size (int): Height and width in pixels, 32 or more.
        rng (Generator): Source of all randomness.

    Returns:
        tuple: Image in BGR of shape (size, size, 3), and label map of shape
        (size, size).
    """
    image = _texture(size, rng)
    label = np.zeros((size, size), np.uint8)
    for _ in range(rng.integers(1, 5)):  # strokes of no digit at all
        _scribble(image, 0.7 * _bright(rng), rng)
    for _ in range(rng.integers(1, 4)):
        digit = int(rng.integers(10))
        glyph = digits[digit][rng.integers(len(digits[digit]))]
        stroke = _place(glyph, size, rng)
        image = _paint(image, stroke, rng)
        label[stroke > 0.45] = 1 + digit
    return _finish(image, rng), label


def make_digit(glyph: Image, size: int, rng: np.random.Generator) -> Image:
    """Make a picture of one digit, in the middle, that looks like the scenes.

    Args:
        glyph (ndarray): The digit, of shape (8, 8), values 0 to 255.
        size (int): Height and width in pixels, 16 or more.
        rng (Generator): Source of all randomness.

    Returns:
        ndarray: Image in BGR of shape (size, size, 3).
    """
    image = _texture(size, rng)
    stroke = _place(glyph, size, rng, centred=True)
    return _finish(_paint(image, stroke, rng), rng)


def _texture(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of several octaves between two colours, sometimes striped."""
    noise: NDArray[np.float64] = np.zeros((size, size))
    for octave in range(1, 6):
        cells = 2**octave
        grid = rng.random((cells, cells)).astype(np.float32)
        noise += cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) / octave
    if rng.random() < 0.4:
        y, x = np.mgrid[:size, :size] / size
        angle, waves = rng.uniform(0, np.pi), rng.uniform(4, 14)
        noise += 0.5 * np.sin(waves * np.pi * (x * np.cos(angle) + y * np.sin(angle)))
    noise = (noise - noise.min()) / (np.ptp(noise) + 1e-9)
    low, high = rng.uniform(0, 130, (2, 3))  # darker than any stroke
    return low + (high - low) * noise[..., None] * rng.uniform(0.4, 1.0)


def _bright(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour of at least one bright channel."""
    colour = rng.uniform(90, 255, 3)
    colour[rng.integers(3)] = rng.uniform(200, 255)
    return colour


def _scribble(
    image: NDArray[np.float64], colour: NDArray[np.float64], rng: np.random.Generator
) -> None:
    size = len(image)
    start = rng.uniform(0, size, 2)
    turns = rng.uniform(-size / 4, size / 4, (rng.integers(2, 5), 2))
    points = np.cumsum([start, *turns], axis=0).astype(np.int32)
    width = int(rng.integers(1, max(size // 32, 2)))
    cv2.polylines(image, [points], False, colour.tolist(), width, cv2.LINE_AA)


def _place(
    glyph: Image, size: int, rng: np.random.Generator, centred: bool = False
) -> NDArray[np.float64]:
    """The digit, scaled, turned and moved into the scene; strength of its stroke."""
    height = size * rng.uniform(*((0.75, 0.95) if centred else (0.5, 0.8)))
    scale, angle = height / 8, rng.uniform(-12, 12)
    margin = 0.46 * size if centred else height / 2
    centre = rng.uniform(margin, size - margin, 2)
    matrix = np.asarray(cv2.getRotationMatrix2D((3.5, 3.5), angle, scale), float)
    matrix[:, 2] += centre - 3.5
    smooth = cv2.warpAffine(
        glyph.astype(np.float32) / 255, matrix, (size, size), flags=cv2.INTER_CUBIC
    )
    return smooth.astype(np.float64)


def _paint(
    image: NDArray[np.float64], stroke: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The image with a stroke of some bright colour on it."""
    alpha = np.clip((stroke - 0.35) / 0.2, 0, 1)[..., None]
    colour = _bright(rng) + rng.normal(0, 8, (*stroke.shape, 1))
    return image * (1 - alpha) + colour * alpha


def _finish(image: NDArray[np.float64], rng: np.random.Generator) -> Image:
    image = image + rng.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)
