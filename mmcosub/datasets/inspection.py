"""Looking at every sample of a dataset."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from mmengine.dataset import BaseDataset, Compose
from mmseg.datasets import BaseSegDataset

from .guard import GuardedPipeline
from .opening import opened

# What reads files, as opposed to what changes images.
_LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
_MOST_PIXELS = 1 << 30  # OpenCV's own limit
_DATASET: 'Inspected | None' = None


class Inspected:
    """A dataset, to look at its samples one by one.

    Args:
        dataset (BaseDataset): The dataset.
        ignore_index (int): Label of pixels to leave out. Defaults to 255.
    """

    def __init__(self, dataset: BaseDataset, ignore_index: int = 255) -> None:
        self.dataset = dataset
        self.ignore_index = ignore_index
        loaders = [
            transform
            for transform in getattr(dataset.pipeline, 'transforms', [])
            if type(transform).__name__ in _LOADERS
        ]
        classes = len((dataset.metainfo or {}).get('classes') or ()) or None
        maps = isinstance(dataset, BaseSegDataset) and len(loaders) > 1
        self.load = GuardedPipeline(
            Compose(loaders), classes if maps else None, ignore_index
        )

    def problem(self, number: int) -> str | None:
        """What is wrong with a sample; None if nothing is.

        Args:
            number (int): Number of the sample.
        """
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
                    image.load()  # unlike OpenCV it refuses a picture that is cut short
        except (OSError, SyntaxError, ValueError) as error:
            return f'{path} cannot be read: {error}'
        try:
            sample: Any = self.load(info)
        except ValueError as error:
            return str(error)
        labels = sample.get('gt_seg_map') if isinstance(sample, dict) else None
        if labels is not None and (labels == self.ignore_index).all():
            return f'{info["seg_map_path"]}: every pixel of the label map is ignored'
        return None


def inspect(inspected: Inspected, processes: int) -> Iterator[tuple[int, str | None]]:
    """Look at every sample, in parallel.

    Args:
        inspected (Inspected): The dataset.
        processes (int): How many look at the same time.

    Yields:
        tuple: Number of a sample, in order, and what is wrong with it.
    """
    numbers = range(len(inspected.dataset))
    pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(inspected,))
    with pool:
        chunk = max(len(numbers) // (processes * 50), 1)
        yield from enumerate(pool.map(_problem, numbers, chunksize=min(chunk, 64)))


def _begin(inspected: Inspected) -> None:
    global _DATASET
    _DATASET = inspected


def _problem(number: int) -> str | None:
    assert _DATASET is not None
    return _DATASET.problem(number)
