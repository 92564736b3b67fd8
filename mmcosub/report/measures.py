"""Confusion counts, and metrics from them.

Shapes: ``C`` classes.
"""

import numpy as np
import torch
from mmpretrain.evaluation import ConfusionMatrix
from numpy.typing import NDArray


def share_right(
    label: NDArray[np.int64], prediction: NDArray[np.int64], ignored: int
) -> float:
    """Fraction of correctly predicted labels; 1 without labels.

    Args:
        label (ndarray): Classes.
        prediction (ndarray): Of the same shape.
        ignored (int): Ignored label.
    """
    labelled = label != ignored
    count = int(labelled.sum())
    return float((label == prediction)[labelled].sum() / count) if count else 1.0


def confusion(
    label: NDArray[np.int64], prediction: NDArray[np.int64], classes: int, ignored: int
) -> NDArray[np.int64]:
    """Count predictions by label, of shape (C, C), a row for each label.

    Args:
        label (ndarray): Classes; other values are ignored.
        prediction (ndarray): Of the same shape.
        classes (int): Number C of classes.
        ignored (int): Ignored label, which may be a class.

    Raises:
        ValueError: If another class is predicted.
    """
    if (highest := int(prediction.max(initial=0))) >= classes:
        raise ValueError(
            f'The model predicts class {highest} (from 0), and the data have {classes} '
            'classes: set val_dataloader.dataset to data of the classes that it was '
            'trained on with --cfg-options, or leave out --run-config.'
        )
    known = (label >= 0) & (label < classes) & (label != ignored)
    pair = (torch.from_numpy(each[known]) for each in (prediction, label))
    return ConfusionMatrix.calculate(*pair, classes).numpy()


def class_iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """IoU of every class, nan where it does not occur, of shape (C, ).

    Args:
        matrix (ndarray): Confusion matrix of shape (C, C).
    """
    hits = np.diag(matrix).astype(float)
    union = matrix.sum(0) + matrix.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def class_recall(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall of every class, nan where it does not occur, of shape (C, ).

    Args:
        matrix (ndarray): Confusion matrix of shape (C, C).
    """
    hits, labelled = np.diag(matrix).astype(float), matrix.sum(1)
    nowhere = np.full(len(hits), np.nan)
    return np.divide(hits, labelled, out=nowhere, where=labelled > 0)
