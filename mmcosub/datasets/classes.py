"""Checks of the classes of datasets and model."""

from typing import Any


def _names(dataset: Any) -> list[str] | None:
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return None if classes is None else [*map(str, classes)]


def check_class_count(dataset: Any, num_classes: int, setting: str) -> None:
    """Raise unless dataset and model have the same number of classes.

    A dataset without class names passes; ``setting`` is the config key to name.
    """
    classes = _names(dataset)
    if classes is not None and len(classes) != num_classes:
        raise ValueError(
            f'{type(dataset).__name__} has {len(classes)} classes, but the model '
            f'{num_classes}. Set {setting} to {len(classes)}, or fix the data.'
        )


def check_class_folders(dataset: Any) -> None:
    """Raise if class names are assigned to the wrong folders.

    MMPretrain's ``CustomDataset`` numbers class folders in alphabetical order and
    checks only their number.
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
