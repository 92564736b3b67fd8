"""What a label loss takes logits for, and what it averages over."""

from collections.abc import Iterable
from typing import Any

from torch import nn

_BY_SETTING = {'AsymmetricLoss', 'CrossEntropyLoss', 'DiceLoss'}  # use_sigmoid
_SIGMOID = {'BinaryCrossEntropyLoss', 'FocalLoss'}
_SOFTMAX = {
    'BoundaryLoss',
    'HuasdorffDisstanceLoss',
    'OhemCrossEntropy',
    'SeesawLoss',
    'TverskyLoss',
}


def activations(losses: nn.Module | Iterable[nn.Module]) -> set[str]:
    """By which functions label losses turn logits into probabilities.

    Args:
        losses (Module | Iterable[Module]): Losses of mmseg, mmpretrain or mmcosub.

    Returns:
        set[str]: 'softmax', 'sigmoid', both or, for losses that are not known, neither.
    """
    if isinstance(losses, nn.Module) and not isinstance(losses, nn.ModuleList):
        losses = [losses]
    found = {_activation(loss) for loss in losses}
    return {name for name in found if name is not None}


def _activation(loss: Any) -> str | None:
    name = type(loss).__name__
    if name in _BY_SETTING:
        return 'sigmoid' if loss.use_sigmoid else 'softmax'
    if name == 'LabelSmoothLoss':
        return 'sigmoid' if loss.mode == 'multi_label' else 'softmax'
    if name == 'LovaszLoss':
        multi_class = loss.cls_criterion.__name__ == 'lovasz_softmax'
        return 'softmax' if multi_class else 'sigmoid'
    if name in _SIGMOID:
        return 'sigmoid'
    return 'softmax' if name in _SOFTMAX else None


def averages_all_pixels(losses: nn.Module | Iterable[nn.Module]) -> bool:
    """Whether a decode head's label loss divides by all pixels, ignored ones too.

    mmseg's cross-entropy does so unless ``avg_non_ignore=True``, and its focal loss
    always does. Of several losses the first one counts.

    Args:
        losses (Module | Iterable[Module]): The head's ``loss_decode``.
    """
    if isinstance(losses, nn.Module) and not isinstance(losses, nn.ModuleList):
        losses = [losses]
    first: Any = next(iter(losses))
    if type(first).__name__ == 'FocalLoss':
        return True
    return not getattr(first, 'avg_non_ignore', True)
