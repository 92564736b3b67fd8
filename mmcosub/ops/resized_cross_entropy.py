"""Softmax cross-entropy of logits that are resized to the label map, tile by tile.

A segmentor's label loss resizes logits to the label map's resolution, 16 times as many
for a stride of 4, and runs over them some ten times, forward and backward: with 150
classes at 512x512 a copy is 157 MB an image. Here a tile that fits the cache is
resized, its loss and gradient are taken, and the gradient is put back on the logits'
own resolution at once. The loss is a sum over pixels, so tiles are independent, and its
gradient is proportional to what comes from above, so nothing is kept or computed again
in the backward pass.

Shapes: ``B`` images, ``C`` classes, ``h, w`` the logits' resolution and ``H, W`` the
label map's.
"""

from typing import Any

import torch
from torch import Tensor

from .first_derivative import first_derivative_only
from .interpolation import Block, interpolation_blocks

# Logits in a tile: on a CPU about what fits a core's cache, on a GPU as many as keep it
# busy.
_TILE = {'cpu': 2**19, 'cuda': 2**26}
_TILE_WIDTH = {'cpu': 128, 'cuda': 2**14}


def resized_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    align_corners: bool = False,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Sum over pixels of the cross-entropy of bilinearly resized logits.

    The same as ``F.cross_entropy(F.interpolate(logits, (H, W), mode='bilinear'),
    labels, reduction='sum')``, computed in float32 at least, at any autocast. It can be
    differentiated once.

    Args:
        logits (Tensor): Of shape (B, C, h, w).
        labels (Tensor): Integers in [0, C) or ``ignore_index``, of shape (B, H, W).
        align_corners (bool): As of ``F.interpolate``. Defaults to False.
        class_weight (Tensor, optional): Of shape (C,). Defaults to None.
        ignore_index (int): Label that counts for nothing. Defaults to 255.

    Returns:
        tuple[Tensor, Tensor]: The sum, and the number of pixels at which the label's
        logit is the greatest (without gradient), both of shape ().
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
        with torch.autocast(logits.device.type, enabled=False):
            dtype = torch.promote_types(logits.dtype, torch.float32)
            z = logits.to(dtype)
            if class_weight is not None:
                class_weight = class_weight.to(dtype)
            grad = torch.zeros_like(z) if ctx.needs_input_grad[0] else None
            total, right = z.new_zeros(()), z.new_zeros(())
            for rows, columns in _tiles(z, labels, align_corners):
                for i in range(len(z)):
                    source = (
                        i,
                        slice(None),
                        slice(rows.first, rows.last),
                        slice(columns.first, columns.last),
                    )
                    target = labels[
                        i, rows.start : rows.stop, columns.start : columns.stop
                    ]
                    y = rows.matrix @ (z[source] @ columns.matrix.T)
                    loss, hits = _tile_loss(
                        y, target, class_weight, ignore_index, grad is not None
                    )
                    total += loss
                    right += hits
                    if grad is not None:  # y holds the gradient now
                        grad[source] += (rows.matrix.T @ y) @ columns.matrix
        ctx.dtype = logits.dtype
        ctx.save_for_backward(grad)
        ctx.mark_non_differentiable(right)
        return total, right

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad_total: Tensor, _: Tensor) -> tuple[Any, ...]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_total).to(ctx.dtype), None, None, None, None


def _tiles(
    logits: Tensor, labels: Tensor, align_corners: bool
) -> list[tuple[Block, Block]]:
    kind = logits.device.type if logits.device.type in _TILE else 'cuda'
    _, classes, h, w = logits.shape
    height, width = labels.shape[1:]
    columns = min(width, _TILE_WIDTH[kind])
    rows = max(_TILE[kind] // (classes * columns), 1)
    which = (align_corners, logits.dtype, logits.device)
    return [
        (row, column)
        for row in interpolation_blocks(h, height, rows, *which)
        for column in interpolation_blocks(w, width, columns, *which)
    ]


def _tile_loss(
    logits: Tensor,
    labels: Tensor,
    class_weight: Tensor | None,
    ignore_index: int,
    with_grad: bool,
) -> tuple[Tensor, Tensor]:
    """Loss and hits of a tile, whose logits (C, rows, columns) become the gradient."""
    y = logits.view(len(logits), -1)
    label = labels.reshape(1, -1)
    valid = label != ignore_index
    label = label.where(valid, 0)
    weight = valid.to(y.dtype)
    if class_weight is not None:
        weight *= class_weight[label]
    top = y.amax(dim=0, keepdim=True)
    own = y.gather(0, label)
    hits = ((own >= top) & valid).sum()
    y.sub_(top).exp_()
    total = y.sum(dim=0, keepdim=True)
    loss = ((total.log() + top - own) * weight).sum()
    if with_grad:
        y *= weight / total
        y.scatter_add_(0, label, -weight)
    return loss, hits
