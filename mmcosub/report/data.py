"""Validation data of a run's config."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS


def validation_data(dataset: Any) -> Any:
    """Return the dataset of a config.

    Raises:
        ValueError: If there are no images at its paths.
    """
    try:
        built = DATASETS.build(dataset)
        if hasattr(built, 'full_init'):
            built.full_init()
        found, reason = len(built), 'there are no images'
    except (OSError, ValueError) as error:  # MMEngine raises ValueError without images
        found, reason = 0, str(error)
    if not found:
        raise ValueError(
            'The validation data are not where the config has them '
            f'(data_root={dataset.get("data_root")!r}: {reason}). Say where: '
            '--cfg-options val_dataloader.dataset.data_root=FOLDER, or leave '
            'out --run-config.'
        )
    return built


def compare_classes(saved: dict, classes: Sequence[str], checkpoint: Path) -> None:
    """Raise if data and checkpoint have different classes.

    Args:
        saved (dict): The checkpoint.
        classes (Sequence[str]): Names of the classes of the data.
        checkpoint (Path): Its file, for messages.

    Raises:
        ValueError: If they differ or the data have no classes.
    """
    meta = (saved.get('meta') or {}).get('dataset_meta') or {}
    trained = [str(name) for name in meta.get('classes') or ()]
    if not classes:
        raise ValueError(
            'The validation data do not say what their classes are, so predictions '
            'cannot be shown by class. Set val_dataloader.dataset.metainfo, or leave '
            'out --run-config.'
        )
    if trained and trained != list(classes):
        other = sorted({*trained} ^ {*classes})
        raise ValueError(
            f'{checkpoint} was trained on other classes than the validation data have '
            f'({other[:4] or "the same in another order"}). Set '
            'val_dataloader.dataset to data of the same classes with --cfg-options, or '
            'leave out --run-config.'
        )
