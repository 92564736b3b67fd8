"""Fashion scenes: photographs of articles on textured grounds, silhouettes as labels.

The articles are Fashion-MNIST's. Labels are 0 for the ground and 1 + c for the class c.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mmcosub.datasets.digit_scenes import (
    Image,
    Plane,
    bright,
    finish,
    place,
    scribble,
    texture,
    warp,
)

PLACES = 30
"""Number of attempts to place an article before it is left out."""


@dataclass(frozen=True)
class Layout:
    """Placement of articles in a scene.

    Args:
        items (tuple[int, int]): Minimum and maximum number of articles.
        scale (tuple[float, float]): Minimum and maximum height of an article, as a
            fraction of the scene's, in (0, 1].
        angle (float): Maximum rotation either way, in degrees.
        overlap (float): Maximum overlap of two articles, as a fraction in [0, 1] of the
            smaller one. Defaults to 1, any.
    """

    items: tuple[int, int]
    scale: tuple[float, float]
    angle: float
    overlap: float = 1.0


def silhouette(photograph: Image) -> NDArray[np.bool_]:
    """The mask of the article in its photograph; holes, such as prints, are filled."""
    shown = (photograph > 8).astype(np.uint8)
    outlines, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(shown)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(bool)


def make_scene(
    articles: list[Image],
    size: int,
    rng: np.random.Generator,
    layout: Layout,
    distractors: tuple[int, int],
    brightest: float,
) -> tuple[Image, Image]:
    """Make one scene, later articles on top.

    Args:
        articles (list[ndarray]): Ten arrays of shape (N, 28, 28), one a class.
        size (int): Height and width in pixels.
        rng (Generator): Source of all randomness.
        layout (Layout): Number, size and placement of articles.
        distractors (tuple[int, int]): Minimum and maximum number of strokes and plain
            shapes.
        brightest (float): Largest value of the background, up to 255.

    Returns:
        tuple: Image in BGR of shape (size, size, 3), and label map of shape
        (size, size).
    """
    image = texture(size, rng, brightest)
    for _ in range(rng.integers(distractors[0], distractors[1] + 1)):
        _distract(image, rng)
    label = np.zeros((size, size), np.uint8)
    masks: list[NDArray[np.bool_]] = []
    for _ in range(rng.integers(layout.items[0], layout.items[1] + 1)):
        number = int(rng.integers(len(articles)))
        photograph = articles[number][rng.integers(len(articles[number]))]
        shown, dye = silhouette(photograph), bright(rng) / 255
        for _ in range(PLACES):
            matrix = place(photograph.shape, size, layout.scale, layout.angle, rng)
            cover = np.clip(warp(shown, matrix, size), 0, 1)
            mask = cover > 0.5
            if _free(mask, masks, layout.overlap):
                grey = np.clip(warp(photograph, matrix, size), 0, 255)
                alpha = np.clip((cover - 0.35) / 0.3, 0, 1)[..., None]
                image = image * (1 - alpha) + grey[..., None] * dye * alpha
                label[mask] = 1 + number
                masks.append(mask)
                break
    return finish(image, rng), label


def _free(
    mask: NDArray[np.bool_], others: list[NDArray[np.bool_]], overlap: float
) -> bool:
    smaller = [max(min(mask.sum(), other.sum()), 1) for other in others]
    both = [(mask & other).sum() for other in others]
    return all(b <= overlap * s for b, s in zip(both, smaller, strict=True))


def _distract(image: Plane, rng: np.random.Generator) -> None:
    """Draw a stroke or a plain shape as a distractor."""
    size, colour = len(image), rng.uniform(20, 235, 3).tolist()
    kind = rng.integers(3)
    if kind == 0:
        return scribble(image, rng)
    centre = rng.uniform(0, size, 2)
    radius = rng.uniform(0.05, 0.2, 2) * size
    angle = rng.uniform(0, 180)
    if kind == 1:
        box = (centre.tolist(), radius.tolist(), angle)
        cv2.ellipse(image, box, colour, cv2.FILLED, cv2.LINE_AA)
    else:
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 6)))
        corners = centre + radius * np.stack([np.cos(turns), np.sin(turns)], 1)
        cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return None
