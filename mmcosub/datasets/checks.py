"""Checks of datasets and their classes before training starts."""

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS
from mmseg.datasets import BaseSegDataset

from .guard import BadSamples, leaves
from .inspection import check_labels
from .listing import PREPARE, check_files, check_found, check_list, files_in


def check_segmentation_data(
    config: dict,
    num_classes: int,
    ignore_index: int = 255,
    samples: int = 32,
    bad: BadSamples | None = None,
    trains: bool = True,
) -> None:
    """Raise if a dataset, given by its config, does not fit the model.

    Lists the folders and reads a few label maps, spread evenly over the dataset.
    Datasets other than mmseg's ``BaseSegDataset`` and data behind a remote file backend
    are not checked, nor are the files of datasets with their own ``load_data_list``.
    Evaluation (``trains=False``) needs labels only if the pipeline loads them.

    Raises FileNotFoundError for a missing or empty folder or a missing file, ValueError
    for no samples, or classes or labels that do not fit.
    """
    for dataset in _datasets(config):
        setting = 'num_classes of model.decode_head (and auxiliary_head)'
        check_class_count(dataset, num_classes, setting)
        transforms = dataset.pipeline.transforms
        loads = any('Annotation' in type(each).__name__ for each in transforms)
        labelled = trains or loads
        check_found(dataset, labelled)
        check_files(dataset, labelled, bad)
        check_labels(dataset, num_classes, ignore_index, samples, bad, trains)


def check_listing(config: dict) -> None:
    """Raise if a dataset finds no image."""
    for dataset in _datasets(config):
        check_found(dataset)


def check_places(config: dict) -> None:
    """Raise for a list with blank lines, or a folder with cyclic links."""
    for leaf in leaves(config):
        root, listed, inner = (
            leaf.get(key) or '' for key in ('data_root', 'ann_file', 'data_prefix')
        )
        if isinstance(root, str) and isinstance(listed, str):
            check_list(os.path.join(root, listed))
        if isinstance(root, str) and isinstance(inner, str) and (root or inner):
            for _ in files_in(os.path.join(root, inner)):
                pass


def _datasets(config: dict) -> Iterator[BaseSegDataset]:
    """Yield mmseg's datasets inside wrappers, on local disk, not yet listed."""
    for leaf in leaves(config):
        dataset = _build(leaf)
        if dataset is not None and not dataset.backend_args:
            yield dataset


def _build(config: dict) -> BaseSegDataset | None:
    """Build a dataset of mmseg, lazily if possible; None for other classes."""
    kind: Any = config['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(config.get('_scope_')) as registry:
            # build() raises for an unknown name.
            kind = registry.get(kind) or BaseSegDataset
    if not (inspect.isclass(kind) and issubclass(kind, BaseSegDataset)):
        return None
    parameters = inspect.signature(kind).parameters.values()
    takes_it = any(p.name == 'lazy_init' or p.kind is p.VAR_KEYWORD for p in parameters)
    try:
        return DATASETS.build({**config, **({'lazy_init': True} if takes_it else {})})
    except AssertionError:
        # Some of mmseg's datasets assert that their data exist without naming them.
        root = Path(config.get('data_root') or '')
        names = [config.get('ann_file'), *config.get('data_prefix', {}).values()]
        for path in (root, *(root / name for name in names if name)):
            if not (config.get('backend_args') or path.exists()):
                raise FileNotFoundError(
                    f'There is no {path}. Set data_root (now {str(root)!r}), '
                    f'data_prefix and ann_file, {PREPARE}'
                ) from None
        raise


# ---- classes ---------------------------------------------------------------------


def _names(dataset: Any) -> list[str] | None:
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return None if classes is None else [*map(str, classes)]


def check_class_count(dataset: Any, num_classes: int, setting: str) -> None:
    """Raise unless a dataset with class names has as many as the model."""
    classes = _names(dataset)
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f'{type(dataset).__name__} has {len(classes)} classes, but the model '
            f'{num_classes}. Set {setting} to {len(classes)}, or fix the data.'
        )


def check_class_folders(dataset: Any) -> None:
    """Raise if class names are not those of the folders, in alphabetical order.

    MMPretrain's ``CustomDataset`` checks only their number.
    """
    folders = list(getattr(dataset, 'folder_to_idx', ()))
    classes = [str(name) for name in getattr(dataset, 'CLASSES', None) or ()]
    if not {*folders} & {*classes} or classes == folders:
        return  # no name is a folder's, as with 'goldfish' for n01443537
    unnamed = [name for name in folders if name not in {*classes}]
    lacking = [name for name in classes if name not in {*folders}]
    raise ValueError(
        f'classes of {type(dataset).__name__} are not its folders in the order of '
        f'their names: no folder for {lacking[:4]}, no name for {unnamed[:4]}. Sort '
        "or fix them, or leave classes out to take the folders' names."
    )


def check_class_names(training: Any, validation: Any) -> None:
    """Raise if two datasets have different class names, or another order of them."""
    before, after = _names(training), _names(validation)
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
