"""Checks of label maps before training or testing starts."""

import logging
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from numpy.typing import NDArray

from .bad_samples import BadSampleError, BadSamples, files_of
from .label_counts import (
    count_labels,
    describe_labels,
    explain_few_classes,
    few_classes,
)
from .label_maps import (
    check_channels,
    check_depth,
    check_size,
    is_stock,
    label_values_out_of_range,
)
from .orientation import explain_turned, is_turned_alone


def check_labels(
    dataset: BaseSegDataset,
    num_classes: int,
    ignore_index: int = 255,
    samples: int = 32,
    bad: BadSamples | None = None,
    trains: bool = True,
) -> None:
    """Read some label maps, report their classes, and raise if unusable.

    More are read until a second class is found.

    Args:
        dataset (BaseSegDataset): The dataset, listed.
        num_classes (int): Number of classes of the model.
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        samples (int): Number of label maps to read, evenly spread. Defaults to 32.
        bad (BadSamples, optional): Policy for bad samples. Defaults to None: raise.
        trains (bool): Raise for labels of a single class. Defaults to True.

    Raises:
        ValueError: If a label map is wrong, or there is nothing to learn.
    """
    transforms = dataset.pipeline.transforms
    loaders = [t for t in transforms if type(t).__name__ == 'LoadAnnotations']
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
    images = [t for t in transforms if type(t).__name__ == 'LoadImageFromFile']
    spread = np.linspace(0, len(dataset) - 1, min(samples, len(dataset))).astype(int)
    order = [*spread, *np.setdiff1d(np.arange(len(dataset)), spread)]
    counts = np.zeros(num_classes + 1, dtype=np.int64)
    turned: list[str] = []
    read = 0
    for number, i in enumerate(order):
        if number >= len(spread) and not few_classes(counts):
            break
        info = dataset.get_data_info(int(i))
        image_loader = images[0] if images and number < len(spread) else None
        try:
            labels = _load(info, loaders[0], image_loader, num_classes, ignore_index)
        except BadSampleError as error:
            if bad is None or not bad.skip:
                raise
            bad.note(files_of(info), str(error))
            continue
        if image_loader and is_turned_alone(info.get('img_path'), image_loader):
            turned.append(info['img_path'])
        counts += count_labels(labels, num_classes, ignore_index)
        read += 1
    _report(dataset, counts, ignore_index, read, trains)
    if turned:
        print_log(explain_turned(turned, len(spread)), 'current', logging.WARNING)


def _load(
    info: dict, loader: Any, image_loader: Any, num_classes: int, ignore_index: int
) -> NDArray:
    """Load and check a label map, with its image if there is a loader."""
    path = info['seg_map_path']
    try:
        loaded = loader(dict(info))
    except Exception as error:
        raise BadSampleError(f'The label {path} cannot be read: {error}') from error
    labels = loaded['gt_seg_map']
    check_channels(labels, path)
    wrong = label_values_out_of_range(labels, num_classes, ignore_index)
    if wrong:
        raise BadSampleError(
            f'The label {path} has the values {wrong}, but the model has classes 0 to '
            f'{num_classes - 1} (and {ignore_index} to ignore). Fix the file, or set '
            'num_classes; if 0 means "no class" in these labels, set '
            'reduce_zero_label=True.'
        )
    check_depth(path)
    if image_loader:
        try:
            size = image_loader(dict(info))['ori_shape']
        except Exception:  # reported on loading
            return labels
        check_size({**loaded, 'ori_shape': size})
    return labels


def _report(
    dataset: BaseSegDataset,
    counts: NDArray[np.int64],
    ignore_index: int,
    read: int,
    trains: bool,
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
