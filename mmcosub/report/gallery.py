"""Images, labels, predictions and disagreement, side by side.

Shapes: ``N`` images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmcosub.datasets.viewing import evenly_spread

from .pictures import classes_uri, image_uri, share_uri
from .predictions import Predictions, Sample

_SPREAD = 6
_WORST = 6


@dataclass
class Tile:
    """Image or, for a classifier, word of a gallery, with its caption.

    Args:
        title (str): Title.
        uri (str): Data URI of the image; '' for a word.
        alt (str): Alternative text.
        word (str): The word. Defaults to ''.
        note (str): Caption. Defaults to ''.
        run (int, optional): Number of the run. Defaults to None: all runs.
        right (bool, optional): True if the word is right. Defaults to None: unknown.
        pixels (bool): Show pixels without smoothing. Defaults to True.
    """

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
    """Images with the predictions of some runs.

    Args:
        title (str): How the images were chosen.
        entries (list[tuple]): Name of each image, and its tiles.
        legend (list[tuple]): Classes that occur, each with its colour.
    """

    title: str
    entries: list[tuple[str, list[Tile]]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)


def make_galleries(
    runs: Sequence[tuple[int, str, Predictions, NDArray[np.float64]]],
) -> list[Gallery]:
    """Make galleries of runs that predict the same images.

    Args:
        runs (Sequence[tuple]): Number on the page, name, predictions, and fraction of
            each image that is right, of shape (N, ), of each run.

    Returns:
        list[Gallery]: Images that are evenly spread over the data, and those with most
        errors.
    """
    right = np.mean([shares for *_, shares in runs], axis=0)
    number = min(_SPREAD, len(right))
    spread = evenly_spread(len(right), number)
    galleries = [_gallery('Images, evenly spread over the data', spread, runs)]
    if worst := most_wrong(right, _WORST):
        galleries.append(_gallery('Images that are most wrong', worst, runs))
    return galleries


def most_wrong(right: NDArray[np.float64], number: int) -> list[int]:
    """Return the images with most errors; ties are spread evenly.

    Args:
        right (ndarray): Fraction of each image that is right, of shape (N, ).
        number (int): Number of images.

    Returns:
        list[int]: At most ``number`` images with errors.
    """
    order = [int(i) for i in np.argsort(right, kind='stable') if right[i] < 1]
    if len(order) <= number:
        return order
    last = right[order[number - 1]]
    surely = [i for i in order if right[i] < last]
    equal = [i for i in order if right[i] == last]
    picked = evenly_spread(len(equal), number - len(surely))
    return surely + [equal[i] for i in picked]


def _gallery(
    title: str,
    numbers: Sequence[int],
    runs: Sequence[tuple[int, str, Predictions, NDArray[np.float64]]],
) -> Gallery:
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
    differ = sample.disagreement
    other = 0.0 if differ is None else float(differ.mean())
    if not of.segments:
        word = of.classes[int(sample.prediction)]
        count = round(other * len(of.submodels))
        note = (
            f'{count} of {len(of.submodels)} submodels differ'
            if differ is not None
            else ''
        )
        right = sample.right == 1
        return [Tile('predicted', '', word, word, note, run, right)]
    right_share = f'{100 * sample.right:.0f} % right'
    uri = classes_uri(sample.prediction, _palette(of))
    alt = f'{name} predicts: {_shares(sample.prediction, of.classes)}'
    tiles = [Tile('predicted', uri, alt, note=right_share, run=run)]
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
