"""Penalties on similar channels and kernels (our formulas).

Intra-model collaborative learning (arXiv 2105.09590) names both without a formula.
Shapes: ``B`` images, ``C`` channels, ``K`` kernels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def channel_redundancy(features: Tensor) -> Tensor:
    """Return the mean squared correlation between channels, over images and pixels.

    Args:
        features (Tensor): Of shape (B, C, *).

    Returns:
        Tensor: A number in [0, 1], in float32 at least.
    """
    x = features.transpose(0, 1).flatten(1)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return _off_diagonal(F.normalize(x - x.mean(dim=1, keepdim=True), dim=1))


def kernel_redundancy(weight: Tensor) -> Tensor:
    """Return the mean squared cosine similarity between the kernels of a layer.

    Args:
        weight (Tensor): Weight of a convolution or linear layer, of shape (K, *).

    Returns:
        Tensor: A number in [0, 1], in float32 at least.
    """
    x = weight.flatten(1)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return _off_diagonal(F.normalize(x, dim=1))


def _off_diagonal(x: Tensor) -> Tensor:
    """Mean square of the inner products of different unit rows."""
    count = len(x)
    if count < 2:
        return x.new_zeros(())
    # The smaller of the two Gram matrices has the same sum of squares.
    gram = x @ x.T if count <= x.shape[1] else x.T @ x
    own = (x * x).sum(dim=1)
    return (gram.square().sum() - own.square().sum()) / (count * (count - 1))
