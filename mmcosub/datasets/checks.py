"""Checks of a segmentation dataset before training starts."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .classes import check_class_count
from .label_maps import check_depth, check_size, is_stock, label_values_out_of_range
from .listing import check_files, check_found, check_links, check_list
from .opening import opened

_ORIENTATION = 0x0112  # of EXIF: from 5 on, height and width change places


def check_segmentation_data(
    config: dict, num_classes: int, ignore_index: int = 255, samples: int = 32
) -> None:
    """Refuse a dataset that cannot be what the model expects.

    Costs a listing of the folders and the reading of a few label maps, spread evenly
    over the dataset. Datasets other than mmseg's ``BaseSegDataset``, and data behind a
    remote file backend, are taken as they are; so are the files of those that list
    their samples in a way of their own.

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
        check_found(dataset)
        check_files(dataset)
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
        check_found(dataset)


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
    """The dataset, without its list of files if it can be; None if not of mmseg's."""
    kind: Any = config['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(config.get('_scope_')) as registry:
            # An unknown name is for build() to refuse.
            kind = registry.get(kind) or BaseSegDataset
    if not (inspect.isclass(kind) and issubclass(kind, BaseSegDataset)):
        return None
    lazy = {'lazy_init': True} if _takes(kind, 'lazy_init') else {}
    try:
        return DATASETS.build({**config, **lazy})
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


def _takes(kind: type, name: str) -> bool:
    """Whether a class can be built with an argument of a name."""
    parameters = inspect.signature(kind).parameters
    return name in parameters or any(
        each.kind is each.VAR_KEYWORD for each in parameters.values()
    )


def check_places(config: dict) -> None:
    """Refuse a list with blank lines, and a folder with links that go round.

    Args:
        config (dict): Config of a classifier's dataset; wrappers are looked into. One
            that names no place, or several, is taken as it is.

    Raises:
        ValueError: If there is such a list or folder.
    """
    for leaf in _leaves(config):
        root = leaf.get('data_root') or ''
        for name, check in (('ann_file', check_list), ('data_prefix', check_links)):
            place = leaf.get(name) or ''
            both = isinstance(root, str) and isinstance(place, str)
            if both and (root or place):
                check(str(Path(root, place)))


def _check_labels(
    dataset: BaseSegDataset, num_classes: int, ignore_index: int, samples: int
) -> None:
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
    if not all(map(is_stock, transforms)):
        return  # one of a user's may make others of the labels: seen as they are loaded
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
