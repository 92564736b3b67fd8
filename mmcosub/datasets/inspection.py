"""Inspection of every sample of a dataset, and of unlabelled images."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmseg.datasets import BaseSegDataset

from .guard import GuardedPipeline
from .image_files import (
    describe_images,
    in_threads,
    is_turned_alone,
    opened,
    read_header,
)
from .labels import Counts, count_labels
from .unlabelled import also_labelled

# Transforms that read files.
_LOADERS = ('LoadImageFromFile', 'LoadAnnotations')
_MOST_PIXELS = 1 << 30  # OpenCV's own limit
_DATASET: 'Inspected | None' = None


@dataclass
class Found:
    """Findings on one sample: its problem, if any, and the pixels of each class."""

    problem: str | None
    counts: Counts
    turned: str | None
    """Its image, if the loader rotates it and the label's size does not tell."""


class Inspected:
    """Dataset whose samples are inspected one by one."""

    def __init__(self, dataset: BaseDataset, ignore_index: int = 255) -> None:
        self.dataset = dataset
        self.ignore_index = ignore_index
        transforms = getattr(dataset.pipeline, 'transforms', [])
        loaders = [t for t in transforms if type(t).__name__ in _LOADERS]
        self.classes = [str(c) for c in (dataset.metainfo or {}).get('classes') or ()]
        maps = isinstance(dataset, BaseSegDataset) and len(loaders) > 1
        num_classes = (len(self.classes) or None) if maps else None
        self.load = GuardedPipeline(Compose(loaders), num_classes, ignore_index)
        images = [t for t in loaders if type(t).__name__ == 'LoadImageFromFile']
        self.image_loader = images[0] if images and maps else None

    def look(self, number: int) -> Found:
        """Inspect a sample."""
        counts = np.zeros(len(self.classes) + 1, dtype=np.int64)
        info = self.dataset.get_data_info(number)
        problem = self._problem(info, counts)
        path = info.get('img_path')
        turned = not problem and is_turned_alone(path, self.image_loader)
        return Found(problem, counts, path if turned else None)

    def _problem(self, info: dict, counts: Counts) -> str | None:
        """Return a sample's problem, if any; add its labels to the counts."""
        if problem := problem_of_image(str(info.get('img_path', ''))):
            return problem
        try:
            sample: Any = self.load(dict(info))
        except ValueError as error:
            return str(error)
        labels = sample.get('gt_seg_map') if isinstance(sample, dict) else None
        if labels is None:
            return None
        counts += count_labels(labels, len(self.classes), self.ignore_index)
        if (labels == self.ignore_index).all():
            return f'{info["seg_map_path"]}: every pixel of the label map is ignored'
        return None


def problem_of_image(path: str) -> str | None:
    """Return why an image cannot be read, if so; what is no file passes."""
    if not os.path.isfile(path):
        return None
    try:
        with opened(path) as image:
            if image.width * image.height > _MOST_PIXELS:
                return (
                    f'{path} cannot be read: {image.width} x {image.height} pixels are '
                    'more than OpenCV reads (2^30). Cut it into tiles.'
                )
            image.load()  # unlike OpenCV, raises for truncated images
    except (OSError, SyntaxError, ValueError) as error:
        return f'{path} cannot be read: {error}'
    return None


def inspect(inspected: Inspected, processes: int) -> Iterator[Found]:
    """Yield the findings of every sample, in order, from several processes."""
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


def inspect_unlabelled(files: list[Path], labelled: list[str]) -> tuple[str, list[str]]:
    """Read unlabelled images; return a description and the problems.

    It counts those among the labelled images, as the same file or a copy.
    """
    named = {str(file): str(file) for file in files}
    problems = [each for _, each in in_threads(problem_of_image, named) if each]
    headers = []
    for file in files:
        with suppress(ValueError):
            headers.append(read_header(file))
    said = f'{len(files)} images'
    if headers:
        suffixes = {file.suffix for file in files}
        sizes = [header.displayed for header in headers]
        modes = [header.mode for header in headers]
        said = f'{said}: {describe_images(suffixes, sizes, modes)}'
    both = len(also_labelled(files, labelled, copies=True))
    return f'{said}; {both or "none"} of them in the training data, too', problems
