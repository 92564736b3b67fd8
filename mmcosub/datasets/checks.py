"""Checks of a segmentation dataset before training starts."""

from collections.abc import Iterator
from pathlib import Path

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
        FileNotFoundError: If a folder is missing or empty, or an image has no label.
        ValueError: If the number of classes or a label's values disagree with the
            model's.
    """
    for leaf in _leaves(config):
        dataset = DATASETS.build({**leaf, 'lazy_init': True})
        if not isinstance(dataset, BaseSegDataset) or dataset.backend_args:
            continue
        _check_classes(dataset, num_classes)
        _check_folders(dataset)
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


def _check_classes(dataset: BaseSegDataset, num_classes: int) -> None:
    classes = dataset.metainfo.get('classes')
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f'{type(dataset).__name__} has {len(classes)} classes, but the decode head '
            f'has num_classes={num_classes}. Set model.decode_head.num_classes (and '
            f"the auxiliary head's) to {len(classes)}."
        )


def _check_folders(dataset: BaseSegDataset) -> None:
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
    paths = (dataset.get_data_info(i).get('seg_map_path') for i in range(len(dataset)))
    missing = [path for path in paths if path and not Path(path).is_file()]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(dataset)} images have no label; the first is '
            f'{missing[0]}. Add the label files or take the images out.'
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
    count = min(samples, len(dataset))
    for i in np.linspace(0, len(dataset) - 1, count).astype(int):
        info = dataset.get_data_info(int(i))
        try:
            labels = loaders[0](dict(info))['gt_seg_map']
        except Exception as error:
            raise ValueError(
                f'The label {info["seg_map_path"]} cannot be read: {error}'
            ) from error
        wrong = label_values_out_of_range(labels, num_classes, ignore_index)
        if wrong:
            raise ValueError(
                f'The label {info["seg_map_path"]} has the values {wrong}, but the '
                f'model has classes 0 to {num_classes - 1} (and {ignore_index} to '
                'ignore). Mend the file, or set num_classes; if 0 means "no class" '
                'in these labels, set reduce_zero_label=True.'
            )
