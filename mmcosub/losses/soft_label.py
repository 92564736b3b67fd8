"""Distillation losses of a student's logits against a teacher's, per position.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions: none for an image's class, (H, W)
for a label map.

``soft_target_loss`` computes them without a copy of the logits for the backward pass.
They have a first derivative only.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .soft_target_loss import soft_target_loss

_SoftLoss = Callable[[Tensor, Tensor, float], Tensor]


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Cross-entropy against the teacher's softmax.

    .. math:: -T^2 \sum_c \sigma(z^t / T)_c \log \sigma(z^s / T)_c

    For recipes with the softmax cross-entropy, as in the abstract of cosub (arXiv
    2212.04884). The temperature, and its square that preserves the size of the
    gradient, are Hinton's (arXiv 1503.02531); cosub has T = 1.

    Args:
        student (Tensor): Logits of shape (B, C, *).
        teacher (Tensor): Logits of shape (B, C, *), detached.
        temperature (float): Temperature T > 0. Defaults to 1.

    Returns:
        Tensor: Loss of shape (B, *), at least in float32.

    Examples:
        >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.0, 9.0]]))
        tensor([0.6931])
    """
    return soft_target_loss(student, teacher, 'ce', temperature)


def soft_binary_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Mean over classes of the binary cross-entropy against the teacher's sigmoid.

    .. math:: \frac{T^2}{C} \sum_c BCE(z^s_c / T, sigmoid(z^t_c / T))

    The loss of cosub's published code, which has T = 1 and does not binarise targets.
    Arguments and result are those of :func:`soft_cross_entropy`.
    """
    return soft_target_loss(student, teacher, 'bce', temperature)


def soft_kl_divergence(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Kullback-Leibler divergence from the student's softmax to the teacher's.

    .. math:: T^2 \sum_c p_c \log \frac{p_c}{\sigma(z^s / T)_c}, \quad
        p = \sigma(z^t / T)

    Same gradients as the soft cross-entropy, 0 where the two agree (Hinton's
    distillation, arXiv 1503.02531). Arguments and result are those of
    :func:`soft_cross_entropy`.
    """
    return soft_target_loss(student, teacher, 'kl', temperature)


SOFT_LOSSES: dict[str, _SoftLoss] = {
    'ce': soft_cross_entropy,
    'bce': soft_binary_cross_entropy,
    'kl': soft_kl_divergence,
}


def weighted_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean of values, or 0 if all weights are 0.

    Args:
        values (Tensor): Of shape (B, *).
        weight (Tensor, optional): Weights of 0 or more, of the same shape. Defaults to
            None, equal weights.
    """
    if weight is None:
        return values.mean()
    weight = weight.to(values.dtype)
    tiny = torch.finfo(values.dtype).tiny
    return (values * weight).sum() / weight.sum().clamp_min(tiny)
