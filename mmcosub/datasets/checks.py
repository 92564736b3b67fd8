"""Checks of a segmentation dataset before training starts."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .guard import label_values_out_of_range


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
    for leaf in _leaves(config):
        dataset = _build(leaf)
        if dataset is None or dataset.backend_args:
            continue
        setting = 'num_classes of model.decode_head (and auxiliary_head)'
        check_class_count(dataset, num_classes, setting)
        _check_folders(dataset)
        dataset.serialize_data = False  # it cannot serialize an empty list
        dataset.full_init()
        _check_files(dataset)
        _check_labels(dataset, num_classes, ignore_index, samples)


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
        if next(Path(folder).rglob(f'*{suffix}'), None) is None:
            raise FileNotFoundError(f'{folder} has no file *{suffix}. {mend}')


def _check_files(dataset: BaseSegDataset) -> None:
    if len(dataset) == 0:
        where = dataset.ann_file or dataset.data_prefix.get('img_path')
        raise ValueError(
            f'{type(dataset).__name__} is empty: {where} names no image, or `indices` '
            'leaves none.'
        )
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
    for i in np.linspace(0, len(dataset) - 1, count).astype(int):
        info = dataset.get_data_info(int(i))
        try:
            labels = loaders[0](dict(info))['gt_seg_map']
        except Exception as error:
            raise ValueError(
                f'The label {info["seg_map_path"]} cannot be read: {error}'
            ) from error
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
