"""Fashion-MNIST in memory: the split of the study and batches of it."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SOURCE = Path('/usr/share/datasets/fashion-mnist')

VALIDATION = 300
"""Validation images of each class, the last of the official training images."""

SHIFT = 2
"""Most pixels by which a training image is moved, along each axis."""

GREY = 72.9
"""Mean of the training images."""


@dataclass(frozen=True)
class Images:
    """Images of shape (N, 1, 28, 28), values 0 to 255, and labels of shape (N, )."""

    images: Tensor
    labels: Tensor


def load(source: Path = SOURCE) -> dict[str, Images]:
    """All of Fashion-MNIST, by 'training', 'validation' and 'test'.

    Args:
        source (Path): Folder with the four ``.gz`` files of
            https://github.com/zalandoresearch/fashion-mnist (MIT licence). Defaults to
            that of Debian's package ``dataset-fashion-mnist``.
    """
    whole, labels = _read(source, 'train')
    held_out = np.zeros(len(labels), bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[-VALIDATION:]] = True
    arrays = {
        'training': (whole[~held_out], labels[~held_out]),
        'validation': (whole[held_out], labels[held_out]),
        'test': _read(source, 't10k'),
    }
    return {
        part: Images(
            torch.from_numpy(images.copy())[:, None].float(),
            torch.from_numpy(labels.astype(np.int64)),
        )
        for part, (images, labels) in arrays.items()
    }


def _read(source: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images of shape (N, 28, 28) and labels, behind heads of 16 and 8 bytes."""
    paths = [source / f'{prefix}-{n}-ubyte.gz' for n in ('images-idx3', 'labels-idx1')]
    images, labels = (gzip.decompress(path.read_bytes()) for path in paths)
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(labels, np.uint8, offset=8),
    )


def subset(whole: Images, count: int, seed: int) -> Images:
    """Some images, as many of each class.

    Args:
        whole (Images): Images to choose from.
        count (int): How many; 0 for all.
        seed (int): Other seeds, other images.
    """
    if not count:
        return whole
    rng = np.random.default_rng((seed, 1))
    labels = whole.labels.numpy()
    chosen = [
        rng.choice(np.flatnonzero(labels == label), count // 10, replace=False)
        for label in range(10)
    ]
    index = torch.from_numpy(np.concatenate(chosen))
    return Images(whole.images[index], whole.labels[index])


class Batches:
    """Batches for ever: every image once an epoch, flipped and moved at random.

    Args:
        data (Images): Training images.
        size (int): Images in a batch.
        seed (int): Seed of order, flips and shifts.
        repeats (int): How often each image of a batch comes, flipped and moved anew.
            Defaults to 1.
    """

    def __init__(self, data: Images, size: int, seed: int, repeats: int = 1) -> None:
        self.padded = torch.nn.functional.pad(data.images, [SHIFT] * 4)
        self.labels = data.labels
        self.size = size
        self.repeats = repeats
        self.rng = np.random.default_rng((seed, 2))
        self.left = np.empty(0, np.int64)

    def __next__(self) -> tuple[Tensor, Tensor]:
        while len(self.left) < self.size:
            self.left = np.append(self.left, self.rng.permutation(len(self.labels)))
        index, self.left = np.split(self.left, [self.size])
        index = np.tile(index, self.repeats)
        batch, side = len(index), self.padded.shape[-1] - 2 * SHIFT
        top, left = self.rng.integers(0, 2 * SHIFT + 1, (2, batch, 1))
        rows, columns = top + np.arange(side), left + np.arange(side)
        flipped = self.rng.random((batch, 1)) < 0.5
        columns = np.where(flipped, columns[:, ::-1], columns)
        images = self.padded[
            index[:, None, None], 0, rows[:, :, None], columns[:, None, :]
        ]
        return images[:, None], self.labels[index]


def recoloured(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images of another contrast, another brightness of each channel, and noise.

    Args:
        images (Tensor): Of shape (N, C, height, width), values 0 to 255.
        rng (Generator): Random generator.

    Returns:
        Tensor: In float64, also below 0 and above 255.
    """
    batch, channels = images.shape[:2]
    gain = rng.uniform(0.5, 1.5, (batch, 1, 1, 1))
    shift = rng.uniform(-40, 40, (batch, channels, 1, 1))
    noise = rng.normal(size=images.shape) * rng.uniform(0, 20, (batch, 1, 1, 1))
    return images * torch.from_numpy(gain) + torch.from_numpy(shift + noise)


def unlabelled_batches(
    data: Images, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Photographs without their labels, weakly and strongly augmented, for ever.

    The weak image is flipped and moved, like a labelled one. The strong one has another
    contrast, another brightness and noise on top, and a square of 12 pixels is grey.

    Args:
        data (Images): The photographs.
        size (int): Images in a batch.
        seed (int): Seed of order and augmentation.
    """
    batches = Batches(data, size, seed)
    batches.rng = np.random.default_rng((seed, 5))  # not the order of labelled ones
    rng = np.random.default_rng((seed, 6))
    while True:
        weak, _ = next(batches)
        strong = recoloured(weak, rng)
        for image, (top, left) in zip(
            strong, rng.integers(17, size=(size, 2)), strict=True
        ):
            image[:, top : top + 12, left : left + 12] = GREY
        yield weak, strong.clamp(0, 255).to(weak.dtype)
