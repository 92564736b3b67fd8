"""Softmax cross-entropy of logits resized to the label map, tile by tile.

A segmentor's label loss resizes logits to the label map, to 16 times as many pixels at
a stride of 4, and reads them about ten times, forward and backward: with 150 classes at
512x512, a copy is 157 MB per image. Here a tile that fits the cache is resized, and its
loss and gradient are computed and resized back at once. Since the loss is a sum over
pixels, tiles are independent. Since its gradient is proportional to the incoming one,
the backward pass recomputes nothing.

Shapes: ``B`` images, ``C`` classes, ``h, w`` the logits' resolution and ``H, W`` the
label map's.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from mmcosub.losses.soft_label import first_derivative_only

from .interpolation import Block, interpolation_blocks

# Logits per tile; on a CPU, about the size of a core's cache. Elsewhere all logits, up
# to the limit of 32-bit indices in kernels: a single copy, where upstream has three.
_TILE = 2**19
_TILE_WIDTH = 128
_MOST = 2**31 - 1


def resized_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    align_corners: bool = False,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Return the sum over pixels of the cross-entropy of bilinearly resized logits.

    Equals ``F.cross_entropy(F.interpolate(logits, (H, W), mode='bilinear'), labels,
    reduction='sum')``, computed in float32 at least, also under autocast. It has a
    first derivative only.

    Args:
        logits (Tensor): Of shape (B, C, h, w).
        labels (Tensor): Integers in [0, C) or ``ignore_index``, of shape (B, H, W).
        align_corners (bool): As in ``F.interpolate``.
        class_weight (Tensor, optional): Of shape (C,).
        ignore_index (int): Label of ignored pixels.

    Returns:
        tuple[Tensor, Tensor]: The sum, and the number of pixels where the label's logit
        is the largest (without gradient), both of shape ().
    """
    return _ResizedCrossEntropy.apply(
        logits, labels, align_corners, class_weight, ignore_index
    )


class _ResizedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        align_corners: bool,
        class_weight: Tensor | None,
        ignore_index: int,
    ) -> tuple[Tensor, Tensor]:
        with _without_autocast(logits.device):
            dtype = torch.promote_types(logits.dtype, torch.float32)
            z = logits.to(dtype)
            if class_weight is not None:
                class_weight = class_weight.to(dtype)
            resizes = z.shape[2:] != labels.shape[1:]
            grad = torch.zeros_like(z) if ctx.needs_input_grad[0] else None
            total, right = z.new_zeros(()), z.new_zeros(())
            for images, rows, columns in _tiles(z, labels, align_corners):
                source = images, slice(None), rows.source, columns.source
                target = labels[images, rows.target, columns.target]
                if resizes:
                    y = rows.matrix @ (z[source] @ columns.matrix.T)
                else:
                    y = z[source].clone()
                loss, hits = _tile_loss(
                    y, target, class_weight, ignore_index, grad is not None
                )
                total += loss
                right += hits
                if grad is not None:  # y is the gradient now
                    if resizes:
                        y = (rows.matrix.T @ y) @ columns.matrix
                    grad[source].add_(y)
        ctx.dtype = logits.dtype
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Any, ...]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_total).to(ctx.dtype), None, None, None, None


def _without_autocast(device: torch.device) -> AbstractContextManager:
    """Return a context without autocast, also on devices that do not support it."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def _tiles(
    logits: Tensor, labels: Tensor, align_corners: bool
) -> list[tuple[slice, Block, Block]]:
    batch, classes, h, w = logits.shape
    height, width = labels.shape[1:]
    together, columns, most = max(batch, 1), width, _MOST
    if logits.device.type == 'cpu' and batch * classes * height * width > _TILE:
        together, columns, most = 1, min(width, _TILE_WIDTH), _TILE
    rows = max(most // (together * classes * columns), 1)
    which = (align_corners, logits.dtype, logits.device)
    return [
        (slice(i, i + together), row, column)
        for row in interpolation_blocks(h, height, rows, *which)
        for column in interpolation_blocks(w, width, columns, *which)
        for i in range(0, batch, together)
    ]


def _tile_loss(
    logits: Tensor,
    labels: Tensor,
    class_weight: Tensor | None,
    ignore_index: int,
    with_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Return loss and hits of a tile; its logits (B, C, h, w) become the gradient."""
    y = logits.view(*logits.shape[:2], math.prod(logits.shape[2:]))
    label = labels.reshape(len(labels), 1, y.shape[2])
    valid = label != ignore_index
    label = label * valid
    weight = valid.to(y.dtype)
    if class_weight is not None:
        weight *= class_weight[label]
    top = y.amax(dim=1, keepdim=True)
    own = y.gather(1, label)
    hits = ((own >= top) & valid).sum()
    y.sub_(top).exp_()
    total = y.sum(dim=1, keepdim=True)
    loss = ((total.log() + top - own) * weight).sum()
    if with_grad:
        y *= weight / total
        y.scatter_add_(1, label, -weight)
    return loss, hits
