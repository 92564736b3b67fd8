"""Images, labels, predictions and disagreement, side by side and inside the page.

Shapes: ``N`` images, ``C`` classes, ``H, W`` the size of an image.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmcosub.datasets.image_files import evenly_spread

from .predictions import Predictions, Sample

_SPREAD = 6
_WORST = 6
_SIDE = 256
_UNLABELLED = (127, 127, 127)

GalleryRun = tuple[int, str, Predictions, NDArray[np.float64]]
"""Number on the page, name, predictions, and fraction (N, ) of images that is right."""


@dataclass
class Tile:
    """Image as a data URI or, for a classifier, a word; of a run, or of none."""

    title: str
    uri: str
    alt: str
    word: str = ''
    note: str = ''
    run: int | None = None
    right: bool | None = None
    pixels: bool = True


@dataclass
class Gallery:
    """Tiles by name of the image, and the colours of the classes that occur."""

    title: str
    entries: list[tuple[str, list[Tile]]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)


def make_galleries(runs: Sequence[GalleryRun]) -> list[Gallery]:
    """Make galleries of images that are evenly spread, and of the most wrong ones."""
    right = np.mean([shares for *_, shares in runs], axis=0)
    spread = evenly_spread(len(right), min(_SPREAD, len(right)))
    galleries = [_gallery('Images, evenly spread over the data', spread, runs)]
    if worst := most_wrong(right, _WORST):
        galleries.append(_gallery('Images that are most wrong', worst, runs))
    return galleries


def most_wrong(right: NDArray[np.float64], number: int) -> list[int]:
    """Return at most so many images with most errors; ties are spread evenly."""
    order = [int(i) for i in np.argsort(right, kind='stable') if right[i] < 1]
    if len(order) <= number:
        return order
    last = right[order[number - 1]]
    surely = [i for i in order if right[i] < last]
    equal = [i for i in order if right[i] == last]
    picked = evenly_spread(len(equal), number - len(surely))
    return surely + [equal[i] for i in picked]


def _gallery(title: str, numbers: Sequence[int], runs: Sequence[GalleryRun]) -> Gallery:
    gallery = Gallery(title)
    occurring: set[int] = set()
    of_all = runs[0][2]
    for number in numbers:
        samples = [predictions.sample(number) for _, _, predictions, _ in runs]
        first = samples[0]
        for sample in samples:
            occurring |= {*np.unique(sample.label), *np.unique(sample.prediction)}
        small = max(first.image.shape[:2]) <= 64
        tiles = [Tile('image', image_uri(first.image), first.name, pixels=small)]
        tiles.append(_label(first, of_all))
        for (run, name, predictions, _), sample in zip(runs, samples, strict=True):
            tiles += _predicted(sample, predictions, run, name)
        gallery.entries.append((first.name, tiles))
    if of_all.segments:
        gallery.legend = [
            (name, '#{:02x}{:02x}{:02x}'.format(*_palette(of_all)[i]))
            for i, name in enumerate(of_all.classes)
            if i in occurring
        ]
    return gallery


def _label(sample: Sample, of: Predictions) -> Tile:
    if not of.segments:
        name = of.classes[int(sample.label)]
        return Tile('label', '', f'labelled {name}', word=name)
    uri = classes_uri(sample.label, _palette(of))
    return Tile('label', uri, f'label: {_shares(sample.label, of.classes)}')


def _predicted(sample: Sample, of: Predictions, run: int, name: str) -> list[Tile]:
    """Return a run's prediction and the disagreement of its submodels."""
    differ, note = sample.disagreement, ''
    other = 0.0 if differ is None else float(differ.mean())
    if not of.segments:
        word = of.classes[int(sample.prediction)]
        if differ is not None:
            total = len(of.submodels)
            note = f'{round(other * total)} of {total} submodels differ'
        return [Tile('predicted', '', word, word, note, run, sample.right == 1)]
    uri = classes_uri(sample.prediction, _palette(of))
    alt = f'{name} predicts: {_shares(sample.prediction, of.classes)}'
    note = f'{100 * sample.right:.0f} % right'
    tiles = [Tile('predicted', uri, alt, note=note, run=run)]
    if differ is not None:
        note = f'{100 * other:.0f} % differ'
        alt = (
            f'where submodels of {name} differ from it, {100 * other:.0f} % on average'
        )
        uri = share_uri(differ)
        tiles.append(Tile('disagreement', uri, alt, note=note, run=run))
    return tiles


def _shares(classes: NDArray[np.int64], names: Sequence[str]) -> str:
    """Describe the classes of a map, the largest first."""
    found, counts = np.unique(classes[classes < len(names)], return_counts=True)
    order = np.argsort(-counts)[:5]
    said = [f'{names[found[i]]} {100 * counts[i] / classes.size:.0f} %' for i in order]
    return ', '.join(said)


def _palette(of: Predictions) -> NDArray[np.uint8]:
    """Return the classes' colours; generated ones if the dataset has none."""
    if of.palette is not None:
        return of.palette
    rng = np.random.default_rng(0)
    return rng.integers(40, 220, (len(of.classes), 3), dtype=np.uint8)


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
    picture = colours[np.where(known, classes, len(palette))]
    return _uri(_nearest(picture), 'PNG')


def share_uri(
    shares: NDArray[np.float64], colour: tuple[int, int, int] = (220, 38, 38)
) -> str:
    """Return a map (H, W) of fractions as a data URI, transparent at 0."""
    picture = np.empty((*shares.shape, 4), dtype=np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = (255 * shares).round()
    return _uri(_nearest(picture), 'PNG')


def _nearest(pixels: NDArray[np.uint8]) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return picture


def _uri(picture: Image.Image, suffix: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=suffix, optimize=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'data:image/{suffix.lower()};base64,{text}'
