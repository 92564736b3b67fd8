from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


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
            label = label.to(cls_score.dtype) > self.threshold
        target = label.to(cls_score.dtype)
        return self.loss_weight * F.binary_cross_entropy_with_logits(cls_score, target)
