"""Heads of a segmentor: outputs, label losses and logits of several views.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmcosub.losses import activations, value_of_ones, weighted_terms

from .head_outputs import (
    classifies_masks,
    label_maps,
    listed_outputs,
    mask_logits,
    prediction_logits,
)


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
    classifies_masks = False

    @property
    def activations(self) -> set[str]:
        """Functions that turn its logits into probabilities, softmax or sigmoid."""
        if self.module.out_channels == 1:
            return {'sigmoid'}  # a softmax over one class is 1 whatever the logit
        return activations(self.label_loss)

    @property
    def label_loss(self) -> list[Any]:
        """Label losses of the prediction's logits, of K-Net those of its first head."""
        holders = [m for m in self.module.modules() if hasattr(m, 'loss_decode')]
        losses: Any = holders[0].loss_decode if holders else None
        if not isinstance(losses, nn.ModuleList):
            return [losses]
        listed = listed_outputs(self.module)
        return [losses[i] for i in listed[1]] if listed else list(losses)

    @property
    def weight(self) -> float:
        """Weight of its label loss, and so a factor of its co-training loss."""
        return sum(weight for weight, _ in weighted_terms(self.label_loss))

    def averaging(self, labelled: Tensor, data_samples: SampleList) -> Tensor | float:
        """Return the factor that turns a mean over labelled pixels into its average.

        ``labelled`` is the labelled fraction of each pixel, of shape (B, H, W).
        """
        total = self.weight
        if not total:
            return 1.0
        head, fraction = self.module, labelled.mean()
        labels = cache(lambda: label_maps(data_samples))
        ignored, classes = head.ignore_index, head.out_channels
        return sum(
            weight / total * value_of_ones(loss, fraction, labels, ignored, classes)
            for weight, loss in weighted_terms(self.label_loss)
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

    Every view draws its own points, so this head learns from the label alone, and
    distillation is at the head before (not in the paper).
    """

    refines_points = True

    def run(self, features: Any, previous: Any, data_samples: SampleList) -> Any:
        """Return what the loss computes the points' logits from."""
        return tuple(features), previous

    def label_losses(self, output: Any, data_samples: SampleList) -> dict[str, Tensor]:
        return self.module.loss(*output, data_samples, self.train_cfg)


class MaskHead(Head):
    """Head that classifies masks (MaskFormer, Mask2Former) rather than pixels.

    The label loss is the head's own matching loss, view by view. Distillation (not in
    the paper) uses the class scores of each pixel.
    """

    classifies_masks = True

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
        return mask_logits(output)


def list_heads(model: Any) -> list[Head]:
    """Return all heads of a segmentor, in the order in which they run.

    Raises a ``ValueError`` if a head has no logits at every pixel.
    """
    decode, auxiliary = _named('decode', model.decode_head), []
    if model.with_auxiliary_head:
        auxiliary = _named('aux', model.auxiliary_head)
    main = [name for name, head in decode if not _is_point_head(head)][-1]
    return [
        *(_head(name, h, name == main, False, model.train_cfg) for name, h in decode),
        *(_head(name, h, False, True) for name, h in auxiliary),
    ]


def _named(prefix: str, heads: nn.Module) -> list[tuple[str, nn.Module]]:
    if not isinstance(heads, nn.ModuleList):
        return [(prefix, heads)]
    return [(f'{prefix}_{i}', head) for i, head in enumerate(heads)]


def _head(name: str, module: nn.Module, *settings: Any) -> Head:
    if _is_point_head(module):
        return PointHead(name, module, *settings)
    if classifies_masks(module):
        return MaskHead(name, module, *settings)
    original = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    if getattr(type(module), 'loss', None) not in original:
        raise ValueError(
            f'{type(module).__name__} ({name}) computes its loss without logits at '
            'every pixel, which distillation between views needs. Use a head with the '
            'loss of BaseDecodeHead (UPerHead, FCNHead, SegformerHead, PSPHead, '
            'ASPPHead, ...), or MaskFormerHead or Mask2FormerHead.'
        )
    return Head(name, module, *settings)


def _is_point_head(module: nn.Module) -> bool:
    return any(cls.__name__ == 'PointHead' for cls in type(module).__mro__)
