"""Outputs of a segmentor's heads: logits of the prediction, rows of the views.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``Q`` queries, ``H, W`` a head's own
resolution.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.utils import SampleList
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

# Heads with several training outputs: index of the prediction's logits, and indices of
# their losses in ``loss_decode``. Other heads: the first of a tuple, the last of a list
# (successive refinements), and all losses.
_PREDICTION = {'PIDHead': (1, (1, 3)), 'DDRHead': (0, (0,))}


def prediction_logits(head: Any, outputs: Any) -> Tensor:
    """Return the prediction's logits among what a head's ``forward`` returned."""
    if not isinstance(outputs, tuple | list):
        return outputs
    default = -1 if isinstance(outputs, list) else 0
    listed = listed_outputs(head)
    return outputs[listed[0] if listed else default]


def listed_outputs(head: Any) -> tuple[int, tuple[int, ...]] | None:
    """Return the table's entry of a head's class or its bases."""
    names = (cls.__name__ for cls in type(head).__mro__)
    return next((_PREDICTION[name] for name in names if name in _PREDICTION), None)


def labelled_fraction(head: Any, data_samples: SampleList, logits: Tensor) -> Tensor:
    """Return the labelled fraction (B, H, W) of each pixel of logits (B, C, H, W)."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    valid = (label_maps(data_samples) != head.ignore_index).to(dtype)
    height, width = logits.shape[-2:]
    return F.adaptive_avg_pool2d(valid, (height, width)).squeeze(1)


def label_maps(data_samples: SampleList) -> Tensor:
    """Return the label maps of B images, of shape (B, 1, H, W)."""
    return torch.stack([sample.gt_sem_seg.data for sample in data_samples])


def split_views(outputs: Any, views: int) -> list[Any]:
    """Split nested outputs of V * B rows into one of each view.

    Leaves that are no tensors, such as None, are given to every view.
    """
    leaves, spec = tree_flatten(outputs)
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
    return [tree_unflatten([chunk[v] for chunk in chunks], spec) for v in range(views)]


def classifies_masks(module: nn.Module) -> bool:
    """Return True for mmseg's heads that classify masks (MaskFormer, Mask2Former)."""
    return any(
        cls.__name__ in ('MaskFormerHead', 'Mask2FormerHead')
        for cls in type(module).__mro__
    )


def mask_logits(output: Any) -> Tensor:
    r"""Return logarithms of the class scores of each pixel, of shape (B, C, H, W).

    .. math:: s_c = \sum_q softmax(z_q)_c \, sigmoid(m_q),

    of the last decoder layer, without the class "no object", at the resolution of the
    masks (not in the paper). They serve as logits, so that a softmax makes the scores
    of a pixel sum to 1. The outputs are class scores (B, Q, C + 1) and masks (B, Q, H,
    W) of one view, each as a list over decoder layers.
    """
    classes, masks = output[0][-1], output[1][-1]
    dtype = torch.promote_types(classes.dtype, torch.float32)
    scores = torch.einsum(
        'bqc,bqhw->bchw',
        classes.to(dtype).softmax(dim=-1)[..., :-1],
        masks.to(dtype).sigmoid(),
    )
    return scores.clamp_min(torch.finfo(dtype).tiny).log()
