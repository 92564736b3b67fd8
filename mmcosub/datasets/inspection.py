"""Samples read before training: a few of a dataset, or all of them in parallel."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, Compose
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from PIL import UnidentifiedImageError
from torch.utils.data import DataLoader

from .guard import BadSamples, GuardedPipeline
from .image_files import (
    describe_images,
    evenly_spread,
    explain_turned,
    in_threads,
    is_turned_alone,
    opened,
    read_header,
    read_raw,
)
from .labels import (
    Counts,
    count_labels,
    describe_labels,
    explain_few_classes,
    few_classes,
    is_stock,
)
from .unlabelled import also_labelled

_MOST_PIXELS = 1 << 30  # OpenCV's own limit


@dataclass
class Found:
    """Findings on one sample: its problem, if any, and the pixels of each class."""

    problem: str | None
    counts: Counts
    turned: str | None = None
    """Its image, if the loader rotates it and the label's size does not tell."""


class Inspected:
    """Dataset whose samples are read by its loading transforms alone."""

    def __init__(
        self,
        dataset: BaseDataset,
        ignore_index: int = 255,
        num_classes: int | None = None,
        bad: BadSamples | None = None,
    ) -> None:
        self.dataset = dataset
        self.ignore_index = ignore_index
        self.classes = [str(c) for c in (dataset.metainfo or {}).get('classes') or ()]
        self.count = num_classes or len(self.classes)
        transforms = getattr(dataset.pipeline, 'transforms', [])
        images, self.label_loaders = (
            [t for t in transforms if type(t).__name__ == name]
            for name in ('LoadImageFromFile', 'LoadAnnotations')
        )
        maps = isinstance(dataset, BaseSegDataset) and bool(self.label_loaders)
        self.image_loader = images[0] if images and maps else None
        classes = self.count if maps and self.count else None
        load = Compose(images + self.label_loaders)
        self.pipeline = GuardedPipeline(load, classes, ignore_index, bad)

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, number: int) -> Found | None:
        """Read a sample; if it is bad, raise ValueError or, to skip it, return None."""
        info = self.dataset.get_data_info(number)
        sample: Any = self.pipeline(dict(info))
        if sample is None:
            return None
        labels = sample.get('gt_seg_map') if isinstance(sample, dict) else None
        if labels is None:
            return self._found()
        path, problem = info.get('img_path'), None
        if (labels == self.ignore_index).all():
            problem = f'{info["seg_map_path"]}: every pixel of the label map is ignored'
        turned = is_turned_alone(path, self.image_loader)
        counts = count_labels(labels, self.count, self.ignore_index)
        return Found(problem, counts, path if turned else None)

    def __getitem__(self, number: int) -> Found:
        """Read a sample, truncated images too; an error is its problem."""
        path = self.dataset.get_data_info(number).get('img_path', '')
        if problem := problem_of_image(str(path)):
            return self._found(problem)
        try:
            return self.read(number) or self._found()
        except ValueError as error:
            return self._found(str(error))

    def describe(self, counts: Counts) -> str:
        """Describe the labels of all samples that were read."""
        if few_classes(counts):
            reduced = getattr(self.dataset, 'reduce_zero_label', False)
            return explain_few_classes(counts, self.ignore_index, reduced)
        names = self.classes or [*map(str, range(self.count))]
        return describe_labels(counts, names, self.ignore_index)

    def _found(self, problem: str | None = None) -> Found:
        return Found(problem, np.zeros(self.count + 1, dtype=np.int64))


def inspect(inspected: Inspected, processes: int) -> Iterator[Found]:
    """Yield the findings of every sample, in order, from several processes."""
    dataset: Any = inspected
    for batch in DataLoader(dataset, 16, num_workers=processes, collate_fn=list):
        yield from batch


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
    except UnidentifiedImageError:
        try:
            read_raw(path)
        except ValueError as error:
            return str(error)
    except (OSError, SyntaxError, ValueError) as error:
        return f'{path} cannot be read: {error}'
    return None


def inspect_unlabelled(files: list[Path], labelled: list[str]) -> tuple[str, list[str]]:
    """Read unlabelled images; return a description and the problems."""
    named = {str(file): str(file) for file in files}
    found = dict(in_threads(problem_of_image, named))
    headers = [read_header(file) for file, problem in found.items() if not problem]
    said = f'{len(files)} images'
    if headers:
        suffixes = {file.suffix for file in files}
        sizes = [header.displayed for header in headers]
        said = f'{said}: {describe_images(suffixes, sizes, headers)}'
    both = also_labelled(files, labelled)
    said = f'{said}; {both or "none"} of them in the training data, too'
    return said, [problem for problem in found.values() if problem]


def check_labels(
    dataset: BaseSegDataset,
    num_classes: int,
    ignore_index: int,
    samples: int,
    bad: BadSamples | None,
    trains: bool,
) -> None:
    """Read some label maps, report their classes, and raise if unusable.

    Up to all are read until there is a second class. The dataset must be listed.
    """
    inspected = Inspected(dataset, ignore_index, num_classes, bad)
    if not inspected.label_loaders:
        return
    kind, total = type(dataset).__name__, len(dataset)
    asked = getattr(inspected.label_loaders[0], 'reduce_zero_label', None)
    if asked is not None and asked != dataset.reduce_zero_label:
        raise ValueError(
            f'LoadAnnotations has reduce_zero_label={asked}, but {kind} has '
            f'{dataset.reduce_zero_label}. Set the same in both, or in the dataset '
            'only.'
        )
    transforms = dataset.pipeline.transforms
    if theirs := [type(t).__name__ for t in transforms if not is_stock(t)]:
        # A user's transforms may renumber labels.
        print_log(
            f'Labels of {kind} are checked as they are loaded, and not before, as '
            f'{", ".join(theirs)} may change them.',
            'current',
            logging.INFO,
        )
        return
    spread = evenly_spread(total, samples)
    found = [each for number in spread if (each := inspected.read(number))]
    counts = sum((each.counts for each in found), np.zeros(num_classes + 1, np.int64))
    for number in sorted({*range(total)} - {*spread}):
        if not few_classes(counts):
            break
        if each := inspected.read(number):
            counts = counts + each.counts
            found.append(each)
    read = len(found)
    if not read:
        raise ValueError('None of the label maps can be used: see the reasons above.')
    if few_classes(counts):
        wrong = f'All {read} label maps of {kind} {inspected.describe(counts)}'
        if trains or not counts[:-1].any():
            raise ValueError(wrong)
        print_log(wrong, 'current', logging.WARNING)
    else:
        said = inspected.describe(counts)
        level = logging.INFO if counts[:-1].all() or read < total else logging.WARNING
        print_log(f'{kind}: in {read} of {total} label maps {said}.', 'current', level)
    if turned := [each.turned for each in found if each.turned]:
        print_log(explain_turned(turned, read), 'current', logging.WARNING)
