"""Predictions of upstream models, as probabilities and labels.

Shapes: ``C`` classes, ``...`` positions: height and width, or none for a classifier.
"""

from typing import Any

from torch import Tensor, nn

from mmcosub.engine.data import classes_of
from mmcosub.evaluation.probabilities import as_probabilities
from mmcosub.models.head_outputs import classifies_masks


def check_probabilities(model: Any) -> None:
    """Raise if a model's outputs are not logits of exclusive classes.

    Raises:
        ValueError: If they are not.
    """
    heads = [getattr(model, name, None) for name in ('decode_head', 'head')]
    for head in [h for several in heads for h in _listed(several)]:
        if classifies_masks(head) or is_multi_label(head):
            raise ValueError(
                f'{type(head).__name__} gives no probabilities that sum to 1 over '
                'classes, so there is no mean and no calibration of them. Take a '
                'model with logits of each pixel or image.'
            )


def is_multi_label(head: Any) -> bool:
    """Return True if a head gives an image several classes.

    Args:
        head (nn.Module): Head of a classifier.
    """
    return any('MultiLabel' in kind.__name__ for kind in type(head).__mro__)


def _listed(head: Any) -> list[Any]:
    return list(head) if isinstance(head, nn.ModuleList) else [head]


def probabilities_of(sample: Any) -> Tensor:
    """Return a prediction's probabilities.

    Args:
        sample (SegDataSample | DataSample): Result of ``test_step`` for one image.

    Returns:
        Tensor: Of shape (C, ...).

    Raises:
        ValueError: If there are none.
    """
    if 'seg_logits' in sample:
        return as_probabilities(sample.seg_logits.data)
    if 'pred_score' in sample:
        return sample.pred_score.float()
    raise ValueError(
        f'{type(sample).__name__} has neither seg_logits nor pred_score: the model is '
        'neither a segmentor nor a classifier.'
    )


def threshold_of(model: Any) -> float | None:
    """Return the threshold of a head with one output channel.

    Returns:
        float, optional: None for other models, which predict the most likely class.
    """
    head = _listed(getattr(model, 'decode_head', None))[-1]
    return head.threshold if getattr(head, 'out_channels', None) == 1 else None


def predicted_classes(probabilities: Tensor, threshold: float | None) -> Tensor:
    """Return the classes that a model predicts from probabilities.

    Args:
        probabilities (Tensor): Of shape (C, ...).
        threshold (float, optional): Threshold of :func:`threshold_of`.

    Returns:
        Tensor: Of shape (...).
    """
    if threshold is None:
        return probabilities.argmax(dim=0)
    return (probabilities[1] > threshold).long()


def ignored_label(model: Any) -> int:
    """Return the ignored label.

    Returns:
        int: The ``ignore_index`` of a segmentor's last decode head; -1, which is no
        label, for a classifier.
    """
    found = classes_of(model)
    return found[1] if found else -1


def labels_of(sample: Any) -> Tensor | None:
    """Return the labels of an image.

    Args:
        sample (SegDataSample | DataSample): Result of ``test_step`` for one image.

    Returns:
        Tensor, optional: Of shape (...); None without labels.
    """
    if 'gt_sem_seg' in sample:
        return sample.gt_sem_seg.data.squeeze(0)
    if 'gt_label' in sample and len(sample.gt_label) == 1:
        return sample.gt_label[0]
    return None
