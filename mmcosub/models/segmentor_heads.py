"""Heads of a segmentor: outputs, label losses and logits of several views.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``Q`` queries, ``H, W`` a head's own
resolution.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmcosub.losses import activations, value_of_ones, weighted_terms
from mmcosub.schemes.any_model import labelled_positions

# Heads with several training outputs: index of the prediction's logits, and indices of
# their losses in ``loss_decode``. Other heads: the first of a tuple, the last of a list
# (successive refinements), and all losses.
_PREDICTION = {'PIDHead': (1, (1, 3)), 'DDRHead': (0, (0,))}


@dataclass(frozen=True)
class Head:
    """One head of a segmentor."""

    name: str
    """Prefix of its losses, as upstream."""
    module: Any
    main: bool
    """True for the head of the final prediction."""
    auxiliary: bool
    """True for a head of ``auxiliary_head``."""
    train_cfg: Any = None
    """The segmentor's ``train_cfg``, for the points of a PointHead."""

    refines_points = False

    @property
    def activations(self) -> set[str]:
        """Functions that turn its logits into probabilities, softmax or sigmoid."""
        if self.module.out_channels == 1:
            return {'sigmoid'}  # a softmax over one class is 1 whatever the logit
        return activations(self.label_loss)

    @property
    def label_loss(self) -> list[Any]:
        """Label losses of the prediction's logits, of K-Net those of its first head."""
        modules = self.module.modules()
        holder = next((m for m in modules if hasattr(m, 'loss_decode')), None)
        losses: Any = getattr(holder, 'loss_decode', None)
        if not isinstance(losses, nn.ModuleList):
            return [losses]
        listed = _listed_outputs(self.module)
        return [losses[i] for i in listed[1]] if listed else list(losses)

    @property
    def weight(self) -> float:
        """Weight of its label loss, and so a factor of its co-training loss."""
        return sum(weight for weight, _ in weighted_terms(self.label_loss))

    def averaging(self, labelled: Tensor, data_samples: SampleList) -> Tensor | float:
        """Return the factor that turns a mean over labelled pixels into its average.

        ``labelled`` is the labelled fraction of each pixel, of shape (B, H, W).
        """
        terms, total = weighted_terms(self.label_loss), self.weight
        if not total:
            return 1.0
        head, fraction = self.module, labelled.mean()
        labels = cache(lambda: label_maps(data_samples))
        ignored, classes = head.ignore_index, head.out_channels
        return sum(
            weight / total * value_of_ones(loss, fraction, labels, ignored, classes)
            for weight, loss in terms
        )

    def run(self, features: Any, previous: Any, data_samples: SampleList) -> Any:
        """Return the head's training outputs on feature maps with V * B rows.

        ``previous`` is the output of the head before it; there is a label for each row.
        """
        if isinstance(self.module, BaseCascadeDecodeHead):
            return self.module.forward(features, previous)
        return self.module.forward(features)

    def label_losses(self, output: Any, data_samples: SampleList) -> dict[str, Tensor]:
        """Return the upstream losses of the outputs of one view."""
        return self.module.loss_by_feat(output, data_samples)

    def logits(self, output: Any) -> Tensor:
        """Return the prediction's logits (B, C, H, W) among the outputs of one view."""
        logits = prediction_logits(self.module, output)
        classes = self.module.out_channels
        if not isinstance(logits, Tensor) or logits.shape[1] != classes:
            raise ValueError(
                f'{type(self.module).__name__} ({self.name}) has no logits of '
                f'{classes} classes at the expected place, so distillation would use '
                'other outputs. Make its forward return them alone, or first in a '
                'tuple.'
            )
        return logits


class PointHead(Head):
    """Head that refines single points of the head before it (PointRend).

    Every view draws its own points, so it learns from the label alone.
    """

    refines_points = True

    def run(self, features: Any, previous: Any, data_samples: SampleList) -> Any:
        """Return what the loss computes the points' logits from."""
        return tuple(features), previous

    def label_losses(self, output: Any, data_samples: SampleList) -> dict[str, Tensor]:
        return self.module.loss(*output, data_samples, self.train_cfg)


class MaskHead(Head):
    """Head that classifies masks (MaskFormer, Mask2Former) rather than pixels.

    The label loss is the head's own; distillation is of each pixel's class scores.
    """

    @property
    def activations(self) -> set[str]:
        return {'sigmoid' if self.module.out_channels == 1 else 'softmax'}

    @property
    def weight(self) -> float:
        loss = getattr(self.module, 'loss_cls', None)
        return getattr(loss, 'loss_weight', 1.0)

    def averaging(self, labelled: Tensor, data_samples: SampleList) -> Tensor | float:
        return 1.0

    def run(self, features: Any, previous: Any, data_samples: SampleList) -> Any:
        """Return lists of class scores and masks of every decoder layer."""
        classes, masks = self.module(features, data_samples)
        return list(classes), list(masks)

    def label_losses(self, output: Any, data_samples: SampleList) -> dict[str, Tensor]:
        instances, metas = self.module._seg_data_to_instance_data(data_samples)
        return self.module.loss_by_feat(*output, instances, metas)

    def logits(self, output: Any) -> Tensor:
        r"""Return logarithms of the class scores of each pixel, of shape (B, C, H, W).

        .. math:: s_c = \sum_q softmax(z_q)_c \, sigmoid(m_q),

        of the last decoder layer, without the class "no object", at the resolution of
        the masks (not in the paper). They serve as logits, so that a softmax makes the
        scores of a pixel sum to 1. The outputs are class scores (B, Q, C + 1) and masks
        (B, Q, H, W) of one view, each as a list over decoder layers.
        """
        classes, masks = output[0][-1], output[1][-1]
        dtype = torch.promote_types(classes.dtype, torch.float32)
        scores = torch.einsum(
            'bqc,bqhw->bchw',
            classes.to(dtype).softmax(dim=-1)[..., :-1],
            masks.to(dtype).sigmoid(),
        )
        return scores.clamp_min(torch.finfo(dtype).tiny).log()


def classifies_masks(module: nn.Module) -> bool:
    """Return True for mmseg's heads that classify masks (MaskFormer, Mask2Former)."""
    return is_a(module, 'MaskFormerHead', 'Mask2FormerHead')


def is_a(module: nn.Module, *names: str) -> bool:
    """Compare class names, so that heads need not be imported."""
    return any(cls.__name__ in names for cls in type(module).__mro__)


# ---- outputs of heads ------------------------------------------------------------


def prediction_logits(head: Any, outputs: Any) -> Tensor:
    """Return the prediction's logits among what a head's ``forward`` returned."""
    if not isinstance(outputs, tuple | list):
        return outputs
    default = -1 if isinstance(outputs, list) else 0
    listed = _listed_outputs(head)
    return outputs[listed[0] if listed else default]


def _listed_outputs(head: Any) -> tuple[int, tuple[int, ...]] | None:
    names = (cls.__name__ for cls in type(head).__mro__)
    return next((_PREDICTION[name] for name in names if name in _PREDICTION), None)


def labelled_fraction(head: Any, data_samples: SampleList, logits: Tensor) -> Tensor:
    """Return the labelled fraction (B, H, W) of each pixel of logits (B, C, H, W)."""
    labels = label_maps(data_samples).squeeze(1)
    fraction: Any = labelled_positions(labels, logits, head.ignore_index)
    return fraction


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
