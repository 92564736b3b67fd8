"""Fashion scenes: photographs of articles on textured grounds, silhouettes as labels.

The articles are Fashion-MNIST's. Labels are 0 for the ground and 1 + c for the class c.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from mmcosub.registry import DATASETS

from .fashion_mnist import CLASSES
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
    scribble,
    texture,
    warp,
)

LAYOUT = Layout(items=(2, 5), scale=(0.25, 0.6), angle=30, overlap=0.4)
"""Default layout of a scene."""


@DATASETS.register_module()
class FashionScenesDataset(ScenesDataset):
    """Fashion scenes on disk, in ADE20K's layout."""

    METAINFO = dict(classes=('background', *CLASSES), palette=PALETTE)


def silhouette(photograph: Image) -> NDArray[np.bool_]:
    """Return the mask of the article in its photograph.

    Holes, such as a dark print on a shirt, are filled.

    Args:
        photograph (ndarray): Of shape (height, width), values 0 to 255.
    """
    shown = (photograph > 8).astype(np.uint8)
    outlines, _ = cv2.findContours(shown, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(shown)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled.astype(bool)


def make_scene(
    articles: list[Image],
    size: int,
    rng: np.random.Generator,
    layout: Layout = LAYOUT,
    distractors: tuple[int, int] = (2, 5),
    brightest: float = 220,
) -> tuple[Image, Image]:
    """Make one scene.

    Args:
        articles (list[ndarray]): Ten arrays of shape (N, 28, 28), one a class.
        size (int): Height and width in pixels.
        rng (Generator): Source of all randomness.
        layout (Layout): Number, size and placement of articles. Defaults to two to five
            with an overlap of at most 0.4.
        distractors (tuple[int, int]): Minimum and maximum number of strokes and plain
            shapes. Defaults to (2, 5).
        brightest (float): Largest value of the background, up to 255. Defaults to 220.

    Returns:
        tuple: Image in BGR of shape (size, size, 3), and label map of shape
        (size, size).
    """
    image = texture(size, rng, brightest)
    for _ in range(rng.integers(distractors[0], distractors[1] + 1)):
        _distract(image, rng)

    def pick() -> tuple[tuple[int, int], Draw]:
        label = int(rng.integers(len(articles)))
        photograph = articles[label][rng.integers(len(articles[label]))]
        shown, dye = silhouette(photograph), bright(rng) / 255

        def draw(image: Plane, matrix: NDArray[np.float64]) -> Drawn:
            grey = np.clip(warp(photograph, matrix, size), 0, 255)
            cover = np.clip(warp(shown, matrix, size), 0, 1)
            alpha = np.clip((cover - 0.35) / 0.3, 0, 1)[..., None]
            painted = image * (1 - alpha) + grey[..., None] * dye * alpha
            return painted, cover > 0.5, 1 + label

        return photograph.shape, draw

    image, label = compose(image, layout, rng, pick)
    return finish(image, rng), label


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
