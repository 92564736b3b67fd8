"""Inspection of every sample of a dataset.

Shapes: ``C`` classes.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

from mmcosub.datasets.synthetic.opening import opened

from .guard import GuardedPipeline
from .label_counts import count_labels
from .orientation import is_turned_alone

# Transforms that read files.
_LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
_MOST_PIXELS = 1 << 30  # OpenCV's own limit
_DATASET: 'Inspected | None' = None


@dataclass
class Found:
    """Findings on one sample.

    Args:
        problem (str, optional): The problem; None if there is none.
        counts (ndarray): Pixels of each class and of ignored ones, of shape (C + 1,).
        turned (str, optional): Its image, if the loader rotates it by its EXIF
            orientation and the label's size does not confirm that.
    """

    problem: str | None
    counts: NDArray[np.int64]
    turned: str | None


class Inspected:
    """Dataset whose samples are inspected one by one.

    Args:
        dataset (BaseDataset): The dataset.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
    """

    def __init__(self, dataset: BaseDataset, ignore_index: int = 255) -> None:
        self.dataset = dataset
        self.ignore_index = ignore_index
        loaders = [
            transform
            for transform in getattr(dataset.pipeline, 'transforms', [])
            if type(transform).__name__ in _LOADERS
        ]
        self.classes = [str(c) for c in (dataset.metainfo or {}).get('classes') or ()]
        maps = isinstance(dataset, BaseSegDataset) and len(loaders) > 1
        self.load = GuardedPipeline(
            Compose(loaders),
            (len(self.classes) or None) if maps else None,
            ignore_index,
        )
        images = [t for t in loaders if type(t).__name__ == 'LoadImageFromFile']
        self.image_loader = images[0] if images and maps else None

    def look(self, number: int) -> 'Found':
        """Inspect a sample."""
        counts: NDArray[np.int64] = np.zeros(len(self.classes) + 1, dtype=np.int64)
        problem = self._problem(number, counts)
        path = self.dataset.get_data_info(number).get('img_path')
        turned = not problem and is_turned_alone(path, self.image_loader)
        return Found(problem, counts, path if turned else None)

    def _problem(self, number: int, counts: NDArray[np.int64]) -> str | None:
        """Return a sample's problem, if any; add its labels to the counts."""
        info = self.dataset.get_data_info(number)
        path = str(info.get('img_path', ''))
        try:
            if os.path.isfile(path):
                with opened(path) as image:
                    if image.width * image.height > _MOST_PIXELS:
                        raise ValueError(
                            f'{image.width} x {image.height} pixels are more than '
                            'OpenCV reads (2^30). Cut it into tiles.'
                        )
                    image.load()  # unlike OpenCV, raises for truncated images
        except (OSError, SyntaxError, ValueError) as error:
            return f'{path} cannot be read: {error}'
        try:
            sample: Any = self.load(info)
        except ValueError as error:
            return str(error)
        labels = sample.get('gt_seg_map') if isinstance(sample, dict) else None
        if labels is None:
            return None
        counts += count_labels(labels, len(self.classes), self.ignore_index)
        if (labels == self.ignore_index).all():
            return f'{info["seg_map_path"]}: every pixel of the label map is ignored'
        return None


def inspect(inspected: Inspected, processes: int) -> Iterator['Found']:
    """Inspect every sample, in parallel.

    Args:
        inspected (Inspected): The dataset.
        processes (int): Number of worker processes.

    Yields:
        Found: Findings of each sample, in order.
    """
    numbers = range(len(inspected.dataset))
    pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(inspected,))
    with pool:
        chunk = max(len(numbers) // (processes * 50), 1)
        yield from pool.map(_look, numbers, chunksize=min(chunk, 64))


def _begin(inspected: Inspected) -> None:
    global _DATASET
    _DATASET = inspected


def _look(number: int) -> Found:
    assert _DATASET is not None
    return _DATASET.look(number)
