"""Validation data of a run: their classes, and labels against predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from mmcosub.analysis.confusion import count_confusions

Classes = NDArray[np.int64]


def share_right(label: Classes, prediction: Classes, ignored: int) -> float:
    """Fraction of correctly predicted labels; 1 without labels."""
    labelled = label != ignored
    count = int(labelled.sum())
    return float((label == prediction)[labelled].sum() / count) if count else 1.0


def confusion(
    label: Classes, prediction: Classes, classes: int, ignored: int
) -> NDArray[np.int64]:
    """Count predictions by label; ValueError if another class is predicted."""
    if (highest := int(prediction.max(initial=0))) >= classes:
        raise ValueError(
            f'The model predicts class {highest} (from 0), and the data have {classes} '
            'classes: set val_dataloader.dataset to data of the classes that it was '
            'trained on with --cfg-options, or leave out --run-config.'
        )
    tensors = torch.from_numpy(label), torch.from_numpy(prediction)
    return count_confusions(*tensors, classes, ignored).numpy()


def validation_data(dataset: Any) -> Any:
    """Build a dataset; ValueError if there are no images at its paths."""
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


def compare_classes(saved: dict, classes: list[str], checkpoint: Path) -> None:
    """Raise ValueError if data and checkpoint have different classes, or data none."""
    meta = (saved.get('meta') or {}).get('dataset_meta') or {}
    trained = [str(name) for name in meta.get('classes') or ()]
    if not classes:
        raise ValueError(
            'The validation data do not say what their classes are, so predictions '
            'cannot be shown by class. Set val_dataloader.dataset.metainfo, or leave '
            'out --run-config.'
        )
    if trained and trained != classes:
        other = sorted({*trained} ^ {*classes})
        raise ValueError(
            f'{checkpoint} was trained on other classes than the validation data have '
            f'({other[:4] or "the same in another order"}). Set '
            'val_dataloader.dataset to data of the same classes with --cfg-options, or '
            'leave out --run-config.'
        )
