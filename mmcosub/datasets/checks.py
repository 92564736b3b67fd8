"""Checks of a segmentation dataset before training starts."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .label_maps import check_depth, check_size, label_values_out_of_range
from .opening import opened

_ORIENTATION = 0x0112  # of EXIF: from 5 on, height and width change places


def check_segmentation_data(
    config: dict, num_classes: int, ignore_index: int = 255, samples: int = 32
) -> None:
    """Refuse a dataset that cannot be what the model expects.

    Costs a listing of the folders and the reading of a few label maps, spread evenly
    over the dataset. Datasets other than mmseg's ``BaseSegDataset``, and data behind a
    remote file backend, are taken as they are.

    Args:
        config (dict): Config of the dataset; wrappers such as ``RepeatDataset`` are
            looked into.
        num_classes (int): Number of classes of the decode head.
        ignore_index (int): Label of pixels to leave out. Defaults to 255.
        samples (int): How many label maps to read. Defaults to 32.

    Raises:
        FileNotFoundError: If a folder is missing or empty, or an image or its label
            is missing.
        ValueError: If the dataset is empty, or the number of classes or a label's
            values disagree with the model's.
    """
    for dataset in _datasets(config):
        setting = 'num_classes of model.decode_head (and auxiliary_head)'
        check_class_count(dataset, num_classes, setting)
        _check_listing(dataset)
        _check_files(dataset)
        _check_labels(dataset, num_classes, ignore_index, samples)


def check_listing(config: dict) -> None:
    """Refuse a dataset that finds no image.

    Of the same datasets as :func:`check_segmentation_data`, and the first that it does.

    Args:
        config (dict): Config of the dataset; wrappers are looked into.

    Raises:
        FileNotFoundError: If a folder is missing or empty.
        ValueError: If the dataset is empty, or its list has blank lines.
    """
    for dataset in _datasets(config):
        _check_listing(dataset)


def _datasets(config: dict) -> Iterator[BaseSegDataset]:
    """Datasets of mmseg inside wrappers, on this machine, not yet listed."""
    for leaf in _leaves(config):
        dataset = _build(leaf)
        if dataset is not None and not dataset.backend_args:
            yield dataset


def _leaves(config: dict) -> Iterator[dict]:
    """Configs of the datasets inside wrappers."""
    inner = config.get('datasets') or (
        [config['dataset']] if 'dataset' in config else []
    )
    if not inner:
        yield config
    for dataset in inner:
        yield from _leaves(dataset)


def _build(config: dict) -> BaseSegDataset | None:
    """The dataset without its list of files, None if it is not one of mmseg's."""
    kind: Any = config['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(config.get('_scope_')) as registry:
            # An unknown name is for build() to refuse.
            kind = registry.get(kind) or BaseSegDataset
    if not (inspect.isclass(kind) and issubclass(kind, BaseSegDataset)):
        return None
    try:
        return DATASETS.build({**config, 'lazy_init': True})
    except AssertionError:
        # Some of mmseg's assert that their data exist, and do not say which.
        root = Path(config.get('data_root') or '')
        names = [config.get('ann_file'), *config.get('data_prefix', {}).values()]
        for path in (root, *(root / name for name in names if name)):
            if not (config.get('backend_args') or path.exists()):
                raise FileNotFoundError(
                    f'There is no {path}. Set data_root (now {str(root)!r}), '
                    'data_prefix and ann_file, or prepare the data (docs/data.md).'
                ) from None
        raise


def check_class_count(dataset: Any, num_classes: int, setting: str) -> None:
    """Refuse a dataset with another number of classes than the model's.

    Args:
        dataset (BaseDataset): The dataset; one that names no classes passes.
        num_classes (int): Number of classes of the model.
        setting (str): Where the config sets it, for the message.

    Raises:
        ValueError: If the numbers differ.
    """
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f'{type(dataset).__name__} has {len(classes)} classes, but the model '
            f'{num_classes}. Set {setting} to {len(classes)}, or mend the data.'
        )


def check_class_names(training: Any, validation: Any) -> None:
    """Refuse data whose classes are others in validation than in training.

    Args:
        training (BaseDataset): Dataset to train on; one that names no classes passes.
        validation (BaseDataset): Dataset to validate on.

    Raises:
        ValueError: If names or their order differ.
    """
    names = [
        (getattr(dataset, 'metainfo', None) or {}).get('classes')
        for dataset in (training, validation)
    ]
    before, after = (None if each is None else [*map(str, each)] for each in names)
    if before is None or after is None or before == after:
        return
    only = [sorted({*a} - {*b})[:4] for a, b in ((before, after), (after, before))]
    raise ValueError(
        'Training and validation have other classes, so the accuracy would mean '
        f'nothing: only in training {only[0]}, only in validation {only[1]}'
        + ('.' if any(only) else ', but they are in another order.')
        + ' Give the class folders the same names, an empty one where there is no '
        'image, or set classes in both datasets.'
    )


def check_list(path: str) -> None:
    """Refuse a list of samples with blank lines, which would be samples without name.

    Args:
        path (str): Text file with one sample in a line. One that is not there, or of
            another kind, passes.

    Raises:
        ValueError: If a line is blank.
    """
    if not path.endswith('.txt') or not Path(path).is_file():
        return
    lines = Path(path).read_text().split('\n')
    if lines and not lines[-1]:
        lines.pop()  # after the last line's end
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        raise ValueError(
            f'{path} has blank lines: line {", ".join(map(str, blank[:5]))}. Take them '
            'out.'
        )


def check_links(folder: str) -> None:
    """Refuse links to a folder that they are in: the search would go round.

    Args:
        folder (str): Folder of images.

    Raises:
        ValueError: If there is such a link.
    """
    for parent, inner, _ in os.walk(folder):
        for name in inner:
            path = os.path.join(parent, name)
            if os.path.islink(path):
                target, here = os.path.realpath(path), os.path.realpath(parent)
                if os.path.commonpath([target, here]) == target:
                    raise ValueError(
                        f'{path} is a link to a folder that it is in, so the same '
                        'images would be found again and again. Delete the link.'
                    )


def _check_folders(dataset: BaseSegDataset) -> None:
    listed = dataset.ann_file
    if listed and not Path(listed).exists():
        raise FileNotFoundError(
            f'There is no ann_file {listed}. Mend its name, or leave ann_file out to '
            'take every image of the folder.'
        )
    for what, suffix in (
        ('img_path', dataset.img_suffix),
        ('seg_map_path', dataset.seg_map_suffix),
    ):
        folder = dataset.data_prefix.get(what)
        if not folder:
            continue
        mend = (
            f'Set data_root (now {dataset.data_root!r}) and data_prefix.{what}, or '
            'prepare the data (docs/data.md).'
        )
        if not Path(folder).is_dir():
            raise FileNotFoundError(f'There is no folder {folder}. {mend}')
        check_links(folder)
        # Into links, as mmseg looks. Path.rglob follows none.
        files = (names for _, _, names in os.walk(folder, followlinks=True))
        if not any(name.endswith(suffix) for names in files for name in names):
            raise FileNotFoundError(f'{folder} has no file *{suffix}. {mend}')


def _check_listing(dataset: BaseSegDataset) -> None:
    if dataset.ann_file:
        check_list(dataset.ann_file)
    _check_folders(dataset)
    dataset.serialize_data = False  # it cannot serialize an empty list
    dataset.full_init()
    if len(dataset) == 0:
        where = dataset.ann_file or dataset.data_prefix.get('img_path')
        raise ValueError(
            f'{type(dataset).__name__} is empty: {where} names no image, or `indices` '
            'leaves none.'
        )


def _check_files(dataset: BaseSegDataset) -> None:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    # Images that were found in the folder are there; those of a list may not be.
    kinds = [('img_path', 'image')] if dataset.ann_file else []
    for key, what in (*kinds, ('seg_map_path', 'label')):
        paths = (info.get(key) for info in infos)
        missing = [path for path in paths if path and not Path(path).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(dataset)} samples have no {what}; the first '
                f'to be missing is {missing[0]}. Add the files or take the samples out.'
            )


def _check_labels(
    dataset: BaseSegDataset, num_classes: int, ignore_index: int, samples: int
) -> None:
    loaders = [
        transform
        for transform in dataset.pipeline.transforms
        if type(transform).__name__ == 'LoadAnnotations'
    ]
    if not loaders:
        return
    asked = getattr(loaders[0], 'reduce_zero_label', None)
    if asked is not None and asked != dataset.reduce_zero_label:
        raise ValueError(
            f'LoadAnnotations has reduce_zero_label={asked}, but '
            f'{type(dataset).__name__} has {dataset.reduce_zero_label}. Set the same '
            'in both, or in the dataset only.'
        )
    count = min(samples, len(dataset))
    ignored = 0
    for i in np.linspace(0, len(dataset) - 1, count).astype(int):
        info = dataset.get_data_info(int(i))
        try:
            loaded = loaders[0](dict(info))
        except Exception as error:
            raise ValueError(
                f'The label {info["seg_map_path"]} cannot be read: {error}'
            ) from error
        labels = loaded['gt_seg_map']
        if labels.ndim != 2:
            raise ValueError(
                f'The label {info["seg_map_path"]} has {labels.shape[2]} channels. A '
                'label map has one, the number of the class: convert colours to that.'
            )
        wrong = label_values_out_of_range(labels, num_classes, ignore_index)
        if wrong:
            raise ValueError(
                f'The label {info["seg_map_path"]} has the values {wrong}, but the '
                f'model has classes 0 to {num_classes - 1} (and {ignore_index} to '
                'ignore). Mend the file, or set num_classes; if 0 means "no class" '
                'in these labels, set reduce_zero_label=True.'
            )
        check_depth(info['seg_map_path'])
        size = _size_of_image(info.get('img_path'))
        if size:
            check_size({**loaded, 'ori_shape': size})
        ignored += bool((labels == ignore_index).all())
    if ignored == count:
        raise ValueError(
            f'All {count} label maps that were looked at have nothing but '
            f'{ignore_index}, which is ignored: there would be nothing to learn. If '
            '0 is a class in these labels, set reduce_zero_label=False.'
        )


def _size_of_image(path: str | None) -> tuple[int, int] | None:
    """Height and width of an image as it is loaded; None if it cannot be opened."""
    try:
        with opened(path or '') as image:
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
            width, height = image.size
    except OSError:  # said when it is loaded
        return None
    return (width, height) if turned else (height, width)
