"""Choice of the images on a page, and pictures inside of it.

Shapes: ``N`` images, ``H, W`` the size of an image.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcosub.datasets.image_files import evenly_spread

from .predictions import Predictions, Sample

_SPREAD = 6
_WORST = 6
_SIDE = 256
_UNLABELLED = (127, 127, 127)


@dataclass
class Gallery:
    """What is shown of images by run, and the colours of the classes that occur."""

    title: str
    entries: list[dict[int, dict[str, Any]]]
    legend: list[tuple[str, str]]


def make_galleries(runs: Mapping[int, Predictions]) -> list[Gallery]:
    """Make galleries of images that are evenly spread, and of the most wrong ones."""
    right = np.mean([of.right for of in runs.values()], axis=0)
    spread = evenly_spread(len(right), min(_SPREAD, len(right)))
    galleries = [_gallery('Images, evenly spread over the data', spread, runs)]
    if worst := most_wrong(right, _WORST):
        galleries.append(_gallery('Images that are most wrong', worst, runs))
    return galleries


def _gallery(
    title: str, numbers: Sequence[int], runs: Mapping[int, Predictions]
) -> Gallery:
    gallery = Gallery(title, [], [])
    occurring: set[int] = set()
    for number in numbers:
        entry = {}
        for run, of in runs.items():
            sample = of.sample(number)
            occurring |= {*np.unique(sample.label), *np.unique(sample.prediction)}
            entry[run] = _shown(sample, of)
        gallery.entries.append(entry)
    first = next(iter(runs.values()))
    if first.segments:
        gallery.legend = [
            (name, '#{:02x}{:02x}{:02x}'.format(*first.palette[i]))
            for i, name in enumerate(first.classes)
            if i in occurring
        ]
    return gallery


def _shown(sample: Sample, of: Predictions) -> dict[str, Any]:
    """Return classes as words, or as data URIs of maps with a description."""
    differ = sample.disagreement
    shown = dict(
        name=sample.name,
        right=sample.right,
        image=image_uri(sample.image),
        small=max(sample.image.shape[:2]) <= 64,
        differ=None if differ is None else float(differ.mean()),
        submodels=len(of.submodels),
    )
    for key in ('label', 'prediction'):
        classes = getattr(sample, key)
        if of.segments:
            shown[key] = classes_uri(classes, of.palette)
            shown[f'{key}_text'] = _shares(classes, of.classes)
        else:
            shown[key] = of.classes[int(classes)]
    if of.segments and differ is not None:
        shown['disagreement'] = share_uri(differ)
    return shown


def most_wrong(right: NDArray[np.float64], number: int) -> list[int]:
    """Return at most so many images, those with most errors first."""
    # Ties at random, as data may be sorted by class.
    order = np.random.default_rng(0).permutation(len(right))
    order = order[np.argsort(right[order], kind='stable')]
    return [int(i) for i in order[:number] if right[i] < 1]


def _shares(classes: NDArray[np.int64], names: Sequence[str]) -> str:
    """Describe the classes of a map, the largest first."""
    found, counts = np.unique(classes[classes < len(names)], return_counts=True)
    order = np.argsort(-counts)[:5]
    said = [f'{names[found[i]]} {100 * counts[i] / classes.size:.0f} %' for i in order]
    return ', '.join(said)


def image_uri(image: NDArray[np.uint8]) -> str:
    """Return an RGB image (H, W, 3) as a data URI."""
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE))
    # JPEG blocks are visible in small images.
    return _uri(picture, 'PNG' if max(picture.size) <= 64 else 'JPEG')


def classes_uri(classes: NDArray[np.int64], palette: NDArray[np.uint8]) -> str:
    """Return a map (H, W) of classes as a data URI; others than these are gray."""
    colours = np.vstack([palette, _UNLABELLED]).astype(np.uint8)
    known = (classes >= 0) & (classes < len(palette))
    return _map_uri(colours[np.where(known, classes, len(palette))])


def share_uri(
    shares: NDArray[np.float64], colour: tuple[int, int, int] = (220, 38, 38)
) -> str:
    """Return a map (H, W) of fractions as a data URI, transparent at 0."""
    picture = np.empty((*shares.shape, 4), dtype=np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = (255 * shares).round()
    return _map_uri(picture)


def _map_uri(pixels: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return _uri(picture, 'PNG')


def _uri(picture: Image.Image, suffix: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=suffix, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'data:image/{suffix.lower()};base64,{text}'
