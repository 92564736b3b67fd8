"""Fashion-MNIST: 70,000 photographs of articles of clothing, 28x28 pixels, ten classes.

By Zalando Research, MIT licence, https://github.com/zalandoresearch/fashion-mnist.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.uint8]

CLASSES = (
    't-shirt', 'trouser', 'pullover', 'dress', 'coat',
    'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot',
)  # fmt: skip
SOURCE = Path('/usr/share/datasets/fashion-mnist')
"""Folder of Debian's package ``dataset-fashion-mnist``."""

FILES = {'training': 'train', 'test': 't10k'}


def read_fashion_mnist(
    source: Path = SOURCE, validation: int = 0
) -> dict[str, tuple[Array, Array]]:
    """Read the official split, with validation images cut from training.

    Args:
        source (Path): Folder with the four ``.gz`` files. Defaults to that of Debian's
            package.
        validation (int): Number of images of each class, the last ones of training, for
            validation. Defaults to 0.

    Returns:
        dict[str, tuple[ndarray, ndarray]]: By 'training', 'validation' and 'test',
        images of shape (N, height, width), values 0 to 255, and labels of shape (N, ),
        values 0 to 9.

    Raises:
        ValueError: If a file is missing or corrupt, or a class has no training image
            left.
    """
    parts = {part: _read_part(source, prefix) for part, prefix in FILES.items()}
    images, labels = parts['training']
    fewest = np.bincount(labels, minlength=len(CLASSES)).min()
    if not 0 <= validation < fewest:
        raise ValueError(
            f'{validation} validation images of each class cannot be cut from training '
            f'images of which there are {fewest} in some class. Take from 0 to '
            f'{fewest - 1}.'
        )
    held_out = np.zeros(len(labels), bool)
    for label in range(len(CLASSES)):
        of_class = np.flatnonzero(labels == label)
        held_out[of_class[len(of_class) - validation :]] = True
    return {
        'training': (images[~held_out], labels[~held_out]),
        'validation': (images[held_out], labels[held_out]),
        'test': parts['test'],
    }


def by_class(images: Array, labels: Array) -> list[Array]:
    """Group the images by their ten classes.

    Args:
        images (ndarray): Of shape (N, height, width).
        labels (ndarray): Of shape (N, ).
    """
    return [images[labels == label] for label in range(len(CLASSES))]


def _read_part(source: Path, prefix: str) -> tuple[Array, Array]:
    image_path = source / f'{prefix}-images-idx3-ubyte.gz'
    label_path = source / f'{prefix}-labels-idx1-ubyte.gz'
    images, labels = _read(image_path, 3), _read(label_path, 1)
    if len(images) != len(labels):
        raise ValueError(
            f'{image_path} has {len(images)} images and {label_path} {len(labels)} '
            'labels. They are not of one data set; download the four files again.'
        )
    if labels.max(initial=0) >= len(CLASSES):
        raise ValueError(
            f'{label_path} has the label {labels.max()}. Those of Fashion-MNIST are 0 '
            'to 9; download the four files again.'
        )
    return images, labels


def _read(path: Path, dimensions: int) -> Array:
    """Read a compressed array of bytes in MNIST's IDX format."""
    if not path.is_file():
        raise ValueError(
            f'There is no {path}. On Debian and Ubuntu, apt-get install '
            'dataset-fashion-mnist puts the four files of Fashion-MNIST into '
            f'{SOURCE}. Elsewhere, take them from data/fashion of '
            'https://github.com/zalandoresearch/fashion-mnist and pass their folder '
            'as --source.'
        )
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f'{path} is damaged ({error}). Install dataset-fashion-mnist or download '
            'the file again.'
        ) from error
    # Two zeros, 8 for bytes, the number of dimensions; then the sizes, big-endian.
    head = 4 + 4 * dimensions
    right = len(data) >= head and data[:4] == bytes((0, 0, 8, dimensions))
    shape = tuple(int(n) for n in np.frombuffer(data[4:head], '>u4')) if right else ()
    if not right or len(data) - head != math.prod(shape):
        raise ValueError(
            f'{path} is not an IDX file of {dimensions} dimensions, or is cut short. '
            'Install dataset-fashion-mnist or download the file again.'
        )
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)
