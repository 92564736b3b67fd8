"""Heads of a segmentor: outputs, label losses and logits of several views.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn

from mmcosub.losses import activations, value_of_ones, weighted_terms

from .mask_classification import MaskClassification

# Heads with several training outputs: index of the prediction's logits, and indices of
# their losses in ``loss_decode``. Other heads: the first of a tuple, the last of a list
# (successive refinements), and all losses.
_PREDICTION = {'PIDHead': (1, (1, 3)), 'DDRHead': (0, (0,))}


@dataclass(frozen=True)
class Head:
    """One head of a segmentor.

    Args:
        name (str): Prefix of its losses, as upstream.
        module (nn.Module): The head.
        main (bool): True for the head of the final prediction.
        auxiliary (bool): True for a head of ``auxiliary_head``.
        train_cfg (dict, optional): The segmentor's ``train_cfg``, for the points of a
            PointHead. Defaults to None.
    """

    name: str
    module: Any
    main: bool
    auxiliary: bool
    train_cfg: Any = None

    @property
    def refines_points(self) -> bool:
        """True if it refines single points of the head before it (PointRend).

        Every view draws its own points, so this head learns from the label alone, and
        distillation is at the head before (not in the paper).
        """
        return _is_point_head(self.module)

    @property
    def classifies_masks(self) -> bool:
        """True if it classifies masks (MaskFormer) rather than pixels."""
        return MaskClassification.is_head(self.module)

    @property
    def activations(self) -> set[str]:
        """Functions that turn its logits into probabilities, softmax or sigmoid."""
        if self.module.out_channels == 1:
            return {'sigmoid'}  # a softmax over one class is 1 whatever the logit
        if self.classifies_masks:
            return {'softmax'}
        return activations(self.label_loss)

    @property
    def label_loss(self) -> list[Any]:
        """Label losses of the prediction's logits, of K-Net those of its first head."""
        holders = [m for m in self.module.modules() if hasattr(m, 'loss_decode')]
        losses: Any = holders[0].loss_decode if holders else None
        if not isinstance(losses, nn.ModuleList):
            return [losses]
        listed = _listed(self.module)
        return [losses[i] for i in listed[1]] if listed else list(losses)

    @property
    def weight(self) -> float:
        """Weight of its label loss, and so a factor of its co-training loss."""
        if self.classifies_masks:
            loss = getattr(self.module, 'loss_cls', None)
            return getattr(loss, 'loss_weight', 1.0)
        return sum(weight for weight, _ in weighted_terms(self.label_loss))

    def averaging(self, labelled: Tensor, data_samples: SampleList) -> Tensor | float:
        """Return the factor that turns a mean over labelled pixels into its average.

        Args:
            labelled (Tensor): Labelled fraction of each pixel, of shape (B, H, W).
            data_samples (list[SegDataSample]): Labels of the B images.
        """
        total = self.weight
        if self.classifies_masks or not total:
            return 1.0
        head, fraction = self.module, labelled.mean()
        labels = cache(lambda: _labels(data_samples))
        return sum(
            weight
            / total
            * value_of_ones(
                loss, fraction, labels, head.ignore_index, head.out_channels
            )
            for weight, loss in weighted_terms(self.label_loss)
        )

    def run(self, features: Any, previous: Any, data_samples: SampleList) -> Any:
        """Compute the head's training outputs.

        Args:
            features (tuple[Tensor]): Feature maps with V * B rows.
            previous (Any): Output of the head before it in a cascade.
            data_samples (list[SegDataSample]): The label of each row.
        """
        if self.classifies_masks:
            return MaskClassification.run(self.module, features, data_samples)
        if self.refines_points:
            return tuple(features), previous  # computed in its loss
        if isinstance(self.module, BaseCascadeDecodeHead):
            return self.module.forward(features, previous)
        return self.module.forward(features)

    def label_losses(self, output: Any, data_samples: SampleList) -> dict[str, Tensor]:
        """Return the upstream losses of one view.

        Args:
            output (Any): The head's training outputs for the view.
            data_samples (list[SegDataSample]): Labels of the B images.
        """
        if self.classifies_masks:
            return MaskClassification.label_losses(self.module, output, data_samples)
        if self.refines_points:
            return self.module.loss(*output, data_samples, self.train_cfg)
        return self.module.loss_by_feat(output, data_samples)

    def logits(self, output: Any) -> Tensor:
        """Return the prediction's logits, of shape (B, C, H, W).

        Args:
            output (Any): The head's training outputs for one view.
        """
        if self.classifies_masks:
            return MaskClassification.logits(output)
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


def _is_point_head(module: nn.Module) -> bool:
    return any(cls.__name__ == 'PointHead' for cls in type(module).__mro__)


def list_heads(model: Any) -> list[Head]:
    """Return all heads of a segmentor, in the order in which they run.

    Args:
        model (EncoderDecoder): The segmentor.

    Raises:
        ValueError: If a head has no logits at every pixel.
    """
    decode = model.decode_head
    if isinstance(decode, nn.ModuleList):
        last = max(i for i, h in enumerate(decode) if not _is_point_head(h))
        heads = [
            Head(f'decode_{i}', h, i == last, False, model.train_cfg)
            for i, h in enumerate(decode)
        ]
    else:
        heads = [Head('decode', decode, True, False)]
    if model.with_auxiliary_head:
        aux = model.auxiliary_head
        if isinstance(aux, nn.ModuleList):
            heads += [Head(f'aux_{i}', h, False, True) for i, h in enumerate(aux)]
        else:
            heads.append(Head('aux', aux, False, True))
    original = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    for head in heads:
        plain = getattr(type(head.module), 'loss', None) in original
        if not (plain or head.classifies_masks or head.refines_points):
            raise ValueError(
                f'{type(head.module).__name__} ({head.name}) computes its loss without '
                'logits at every pixel, which distillation between views needs. Use a '
                'head with the loss of BaseDecodeHead (UPerHead, FCNHead, '
                'SegformerHead, PSPHead, ASPPHead, ...), or MaskFormerHead or '
                'Mask2FormerHead.'
            )
    return heads


def prediction_logits(head: Any, outputs: Any) -> Tensor:
    """Return the prediction's logits among a head's training outputs.

    Args:
        head (nn.Module): A decode head.
        outputs (Tensor | tuple | list): What its ``forward`` returned.
    """
    if not isinstance(outputs, tuple | list):
        return outputs
    default = -1 if isinstance(outputs, list) else 0
    listed = _listed(head)
    return outputs[listed[0] if listed else default]


def _listed(head: Any) -> tuple[int, tuple[int, ...]] | None:
    """Return the table's entry of a head's class or its bases."""
    names = (cls.__name__ for cls in type(head).__mro__)
    return next((_PREDICTION[name] for name in names if name in _PREDICTION), None)


def labelled_fraction(head: Any, data_samples: SampleList, logits: Tensor) -> Tensor:
    """Return the labelled fraction of each of the head's pixels (not in the paper).

    Args:
        head (nn.Module): The head, for its ``ignore_index``.
        data_samples (list[SegDataSample]): Labels of B images.
        logits (Tensor): Of shape (B, C, H, W).

    Returns:
        Tensor: In [0, 1], of shape (B, H, W).
    """
    dtype = torch.promote_types(logits.dtype, torch.float32)
    valid = (_labels(data_samples) != head.ignore_index).to(dtype)
    height, width = logits.shape[-2:]
    return F.adaptive_avg_pool2d(valid, (height, width)).squeeze(1)


def _labels(data_samples: SampleList) -> Tensor:
    """Return the label maps of B images, of shape (B, 1, H, W)."""
    return torch.stack([sample.gt_sem_seg.data for sample in data_samples])
