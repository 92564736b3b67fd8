"""A small data set in the files of Fashion-MNIST."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def idx(array: NDArray[np.uint8]) -> bytes:
    """An array in MNIST's file format."""
    head = bytes((0, 0, 8, array.ndim))
    return head + struct.pack(f'>{array.ndim}I', *array.shape) + array.tobytes()


def write_fashion(folder: Path, train: int = 6, test: int = 2) -> Path:
    """Some articles of each class, each a square of 8x8 in the middle of its picture.

    Article i of a class is of brightness 20 + 2 * i, those of test 200 and more,
    so that each can be told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, count, darkest in (('train', train, 20), ('t10k', test, 200)):
        labels = np.tile(np.arange(10, dtype=np.uint8), count)
        images = np.zeros((10 * count, 28, 28), np.uint8)
        values = darkest + 2 * (np.arange(10 * count) // 10)
        images[:, 10:18, 10:18] = values[:, None, None]
        for name, array in (('images-idx3', images), ('labels-idx1', labels)):
            path = folder / f'{prefix}-{name}-ubyte.gz'
            path.write_bytes(gzip.compress(idx(array)))
    return folder
