"""A label loss of classifiers; softmax or sigmoid, weight and average of any."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BY_SETTING = {'AsymmetricLoss', 'CrossEntropyLoss', 'DiceLoss'}  # use_sigmoid
_SIGMOID = {
    'BCEWithLogitsLoss',
    'BinaryCrossEntropy',  # timm's
    'BinaryCrossEntropyLoss',
    'FocalLoss',
    'MultiLabelSoftMarginLoss',
    'SoftBCEWithLogitsLoss',  # segmentation_models_pytorch's
    'binary_cross_entropy_with_logits',
    'sigmoid_focal_loss',  # torchvision's
}
_SOFTMAX = {
    'BoundaryLoss',
    'HuasdorffDisstanceLoss',
    'LabelSmoothingCrossEntropy',  # timm's
    'NLLLoss',  # a softmax leaves log-probabilities as they are
    'OhemCrossEntropy',
    'SeesawLoss',
    'SoftCrossEntropyLoss',  # segmentation_models_pytorch's
    'SoftTargetCrossEntropy',  # timm's
    'TverskyLoss',
    'cross_entropy',
    'nll_loss',
}
# Modes of segmentation_models_pytorch's losses and mmpretrain's LabelSmoothLoss.
_SIGMOID_MODES = 'binary', 'multilabel', 'multi_label'
_SOFTMAX_MODES = 'multiclass', 'original', 'classy_vision'
_LIBRARIES = {
    'mmcosub', 'mmpretrain', 'mmseg', 'segmentation_models_pytorch', 'timm', 'torch',
    'torchvision',
}  # fmt: skip
_PIXELWISE = {'CrossEntropyLoss', 'FocalLoss', 'OhemCrossEntropy'}


def activations(losses: nn.Module | Iterable[Any]) -> set[str]:
    """Return the functions that turn the logits of label losses into probabilities.

    'softmax', 'sigmoid', both or, for losses of no known library, neither. Losses are
    modules, functions or a ``functools.partial`` of one.
    """
    if isinstance(losses, nn.Module) and not isinstance(losses, nn.ModuleList):
        losses = [losses]
    return {name for name in map(_activation, losses) if name is not None}


def _activation(loss: Any) -> str | None:
    function = getattr(loss, 'func', loss)  # of a functools.partial
    makers = [function] if hasattr(function, '__name__') else type(loss).__mro__
    # A user's own FocalLoss may be of a softmax.
    own = [m for m in makers if str(m.__module__).partition('.')[0] in _LIBRARIES]
    names = {maker.__name__ for maker in own}
    mode = getattr(loss, 'mode', None)
    sigmoid = not names.isdisjoint(_SIGMOID) or mode in _SIGMOID_MODES
    if sigmoid or mode in _SOFTMAX_MODES:
        pass
    elif not names.isdisjoint(_BY_SETTING):
        sigmoid = getattr(loss, 'use_sigmoid', False)
    elif 'LovaszLoss' in names:
        sigmoid = loss.cls_criterion.__name__ != 'lovasz_softmax'
    elif names.isdisjoint(_SOFTMAX):
        return None
    return 'sigmoid' if sigmoid else 'softmax'


def _names(loss: Any) -> set[str]:
    return {cls.__name__ for cls in type(loss).__mro__}


def weighted_terms(losses: Sequence[Any]) -> list[tuple[float, Any]]:
    """Return weight and loss of each label loss that weights the co-training loss.

    These are the pixel-wise losses, or all if there is none (Dice, Lovasz or Tversky
    alone). Losses without 'loss' in their name are only logged.
    """
    learned = [x for x in losses if 'loss' in getattr(x, 'loss_name', 'loss')]
    pixelwise = [x for x in learned if not _PIXELWISE.isdisjoint(_names(x))]
    return [(getattr(x, 'loss_weight', 1.0), x) for x in pixelwise or learned]


def value_of_ones(
    loss: Any,
    fraction: Tensor,
    labels: Callable[[], Tensor],
    ignored: int,
    classes: int,
) -> Tensor | float:
    """Return the value of a label loss whose terms are 1 at every labelled pixel.

    Without ``loss_weight``. A mean over labelled pixels times this value is averaged in
    the same way as the label loss. mmseg's cross-entropy divides by all pixels, ignored
    ones included, unless ``avg_non_ignore=True``; with class weights it divides by the
    weights of the labelled pixels. Its focal loss divides by all pixels, its
    ``OhemCrossEntropy`` by the pixels that it selects. Losses of regions (Dice, Lovasz,
    Tversky) use labelled pixels only.

    ``fraction`` is the labelled fraction of the pixels, ``labels()`` returns the label
    maps, of shape (B, 1, height, width), and ``classes`` counts the head's channels.
    """
    names = _names(loss)
    if _PIXELWISE.isdisjoint(names):
        return 1.0
    binary = getattr(loss, 'use_sigmoid', False)
    weights = getattr(loss, 'class_weight', None)
    reduction = getattr(loss, 'reduction', 'mean')
    focal = 'FocalLoss' in names
    entropy = 'CrossEntropyLoss' in names
    if entropy and weights is not None and reduction == 'mean' and not binary:
        return 1.0  # the loss divides by the weights
    value: Tensor | float = 1.0
    if reduction == 'sum':
        value = (labels() != ignored).sum() * (classes if binary else 1)
    elif focal or (
        entropy and not (getattr(loss, 'avg_non_ignore', True) and reduction == 'mean')
    ):
        value = fraction
    if weights is None:
        return value
    table = fraction.new_tensor([*weights])
    if focal:  # weights of output channels, whatever the label
        return value * table.mean()
    if binary and classes == 1:  # weights of the positive label alone
        table = F.pad(table, (1, 0), value=1.0)
    valid = labels() != ignored
    of_pixels = table[labels().where(valid, 0)] * valid
    return value * of_pixels.sum() / valid.sum().clamp(min=1)


class BinaryCrossEntropyLoss(nn.Module):
    r"""Mean over images and classes of the binary cross-entropy of logits.

    .. math:: \frac{1}{BC} \sum_{b,c} BCE(z_{bc}, y_{bc})

    The label loss of DeiT III and of cosub's published code (arXiv 2204.07118 and
    2212.04884), in which targets are binarised after mixup and cutmix: every class in
    the mix becomes a full positive. mmpretrain's ``CrossEntropyLoss(use_sigmoid=True)``
    sums over classes instead and does not binarise.

    Args:
        threshold (float, optional): Soft targets above it become 1, the others 0.
            Defaults to None, which takes them as they are.
        loss_weight (float): Factor of the loss. Defaults to 1.

    Examples:
        >>> import torch
        >>> loss = BinaryCrossEntropyLoss(threshold=0.0)
        >>> loss(torch.zeros(1, 4), torch.tensor([2]))
        tensor(0.6931)
    """

    def __init__(self, threshold: float | None = None, loss_weight: float = 1.0):
        super().__init__()
        if threshold is not None and not 0 <= threshold < 1:
            raise ValueError(f'The threshold must be in [0, 1), not {threshold}.')
        self.threshold = threshold
        self.loss_weight = loss_weight

    def forward(self, cls_score: Tensor, label: Tensor, **kwargs: Any) -> Tensor:
        """Compute the loss.

        Args:
            cls_score (Tensor): Logits of shape (B, C).
            label (Tensor): Classes of shape (B, ) or soft targets of shape (B, C).
            **kwargs: Other arguments of heads (``avg_factor``), not used.
        """
        if label.ndim == 1:
            label = F.one_hot(label, cls_score.shape[1])
        if self.threshold is not None:
            label = label > self.threshold
        # Half precision has no 0.501, and would round targets and loss.
        dtype = torch.promote_types(cls_score.dtype, torch.float32)
        return self.loss_weight * F.binary_cross_entropy_with_logits(
            cls_score.to(dtype), label.to(dtype)
        )
