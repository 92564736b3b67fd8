"""Outputs and losses of several views that ran as one batch.

Shapes: ``V`` views, ``B`` samples.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def split_views(outputs: Any, views: int) -> list[Any]:
    """Split outputs of V * B rows into one nested output per view.

    Args:
        outputs (Any): Tensor of shape (V * B, ...), or a list, tuple or dict of such.
            Other leaves, such as None, are given to every view.
        views (int): Number of views V.

    Raises:
        ValueError: If a tensor's number of rows is not a multiple of V.
    """
    leaves, spec = torch.utils._pytree.tree_flatten(outputs)
    for leaf in leaves:
        if isinstance(leaf, Tensor) and (leaf.ndim == 0 or leaf.shape[0] % views):
            raise ValueError(
                f'A head returns a tensor of shape {tuple(leaf.shape)}, whose rows are '
                f'not those of the images of {views} views. Compute tensors without '
                "such rows (prototypes, a penalty) in the head's loss_by_feat."
            )
    chunks = [
        leaf.chunk(views) if isinstance(leaf, Tensor) else [leaf] * views
        for leaf in leaves
    ]
    return [
        torch.utils._pytree.tree_unflatten([chunk[v] for chunk in chunks], spec)
        for v in range(views)
    ]


def weighted_losses(
    losses: Sequence[dict[str, Any]], weights: Sequence[float]
) -> dict[str, Any]:
    """Combine the loss dicts of several views into one.

    Args:
        losses (Sequence[dict]): One per view, with the same keys. Values of keys
            without 'loss' (accuracies) are averaged.
        weights (Sequence[float]): Weight of each view's losses.
    """
    combined: dict[str, Any] = {}
    for key in losses[0] if losses else ():
        factors = weights if 'loss' in key else [1 / len(losses)] * len(losses)
        terms = [loss[key] for loss in losses]
        if isinstance(terms[0], list | tuple):
            terms = [loss_value(term) for term in terms]
        combined[key] = sum(w * t for w, t in zip(factors, terms, strict=True))
    return combined


def loss_value(loss: Any) -> Any:
    """Return a loss as MMEngine adds it up: its mean, or the sum of several means.

    Args:
        loss (Tensor | Sequence[Tensor]): Of any shape, as with ``reduction='none'``.
    """
    if isinstance(loss, list | tuple):
        return sum(part.mean() for part in loss)
    return loss.mean()
