"""Checks of label maps before training or testing starts."""

import logging

import numpy as np
from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from .bad_samples import BadSamples
from .guard import GuardedPipeline
from .image_files import explain_turned, is_turned_alone
from .labels import (
    Counts,
    count_labels,
    describe_labels,
    explain_few_classes,
    few_classes,
    is_stock,
)


def check_labels(
    dataset: BaseSegDataset,
    num_classes: int,
    ignore_index: int,
    samples: int,
    bad: BadSamples | None,
    trains: bool,
) -> None:
    """Read some label maps, report their classes, and raise if unusable.

    More are read until a second class is found. Arguments as in
    :func:`~mmcosub.datasets.check_segmentation_data`; the dataset is listed.
    """
    transforms = dataset.pipeline.transforms
    loaders = [t for t in transforms if type(t).__name__ == 'LoadAnnotations'][:1]
    if not loaders:
        return
    asked = getattr(loaders[0], 'reduce_zero_label', None)
    if asked is not None and asked != dataset.reduce_zero_label:
        raise ValueError(
            f'LoadAnnotations has reduce_zero_label={asked}, but '
            f'{type(dataset).__name__} has {dataset.reduce_zero_label}. Set the same '
            'in both, or in the dataset only.'
        )
    if theirs := [type(t).__name__ for t in transforms if not is_stock(t)]:
        # A user's transforms may renumber labels.
        print_log(
            f'Labels of {type(dataset).__name__} are checked as they are loaded, and '
            f'not before, as {", ".join(theirs)} may change them.',
            'current',
            logging.INFO,
        )
        return
    images = [t for t in transforms if type(t).__name__ == 'LoadImageFromFile'][:1]
    with_image, alone = (
        GuardedPipeline(Compose(parts), num_classes, ignore_index, bad)
        for parts in (images + loaders, loaders)
    )
    spread = np.linspace(0, len(dataset) - 1, min(samples, len(dataset))).astype(int)
    order = [*spread, *np.setdiff1d(np.arange(len(dataset)), spread)]
    counts = np.zeros(num_classes + 1, dtype=np.int64)
    turned: list[str] = []
    read = 0
    for number, i in enumerate(order):
        sampled = number < len(spread)
        if not sampled and not few_classes(counts):
            break
        info = dataset.get_data_info(int(i))
        loaded = (with_image if sampled else alone)(dict(info))
        if loaded is None:  # bad, and listed
            continue
        if sampled and images and is_turned_alone(info.get('img_path'), images[0]):
            turned.append(info['img_path'])
        counts += count_labels(loaded['gt_seg_map'], num_classes, ignore_index)
        read += 1
    _report(dataset, counts, ignore_index, read, trains)
    if turned:
        print_log(explain_turned(turned, len(spread)), 'current', logging.WARNING)


def _report(
    dataset: BaseSegDataset, counts: Counts, ignore_index: int, read: int, trains: bool
) -> None:
    """Report the labels; raise if nothing can be learned from them."""
    if not read:
        raise ValueError('None of the label maps can be used: see the reasons above.')
    kind, total = type(dataset).__name__, len(dataset)
    if few_classes(counts):
        wrong = explain_few_classes(counts, ignore_index, dataset.reduce_zero_label)
        wrong = f'All {read} label maps of {kind} {wrong}'
        if trains or not counts[:-1].any():
            raise ValueError(wrong)
        print_log(wrong, 'current', logging.WARNING)
        return
    names = (dataset.metainfo or {}).get('classes') or range(len(counts) - 1)
    said = describe_labels(counts, [str(name) for name in names], ignore_index)
    level = logging.INFO if counts[:-1].all() or read < total else logging.WARNING
    print_log(f'{kind}: in {read} of {total} label maps {said}.', 'current', level)
