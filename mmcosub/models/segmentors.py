"""Co-training wrappers of mmseg's segmentors.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.utils import SampleList, add_prefix
from torch import Tensor, nn

from mmcosub.registry import MODELS

from .co_training import CoTraining, split_views, weighted_losses

# Where the logits that a head predicts with are among its training outputs, for heads
# with several. Not listed: a tuple's first, a list's (successive refinements') last.
_PREDICTION = {'PIDHead': 1}


class _CoTrainingSegmentor(CoTraining):
    """The loss of a co-trained segmentor; evaluation is the stock model's."""

    decode_head: Any
    with_neck: bool
    auxiliary_head: Any
    with_auxiliary_head: bool

    def _check_heads(self) -> None:
        stock = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
        for name, head, _ in self._heads():
            if getattr(type(head), 'loss', None) not in stock:
                raise ValueError(
                    f'{type(head).__name__} ({name}) computes its loss without logits '
                    'at every pixel, so views cannot teach each other there. Use a '
                    'head with the loss of BaseDecodeHead (UPerHead, FCNHead, '
                    'SegformerHead, PSPHead, ASPPHead, ...).'
                )

    def _heads(self) -> list[tuple[str, nn.Module, bool]]:
        """Name, head and whether it is the one to predict with, in order."""
        if isinstance(self.decode_head, nn.ModuleList):
            last = len(self.decode_head) - 1
            heads = [
                (f'decode_{i}', h, i == last) for i, h in enumerate(self.decode_head)
            ]
        else:
            heads = [('decode', self.decode_head, True)]
        if self.with_auxiliary_head:
            aux = self.auxiliary_head
            if isinstance(aux, nn.ModuleList):
                heads += [(f'aux_{i}', head, False) for i, head in enumerate(aux)]
            else:
                heads.append(('aux', aux, False))
        return heads

    def pass_loss(
        self, inputs: Tensor, data_samples: SampleList, views: list[int]
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[SegDataSample]): Their labels, in ``gt_sem_seg``.
            views (list[int]): The views. Those of earlier passes have run.

        Returns:
            dict[str, Tensor]: The stock model's losses, combined over views, and one
            co-training loss a co-trained head.
        """
        features = self.run_backbone(inputs, views)
        losses: dict[str, Tensor] = self.scheme.penalties(self, features)
        if self.with_neck:
            features = self.neck(features)  # type: ignore[attr-defined]

        labelled = any(self.scheme.label_weights[v] for v in views)
        logits: dict[str, list[Tensor]] = {}
        shares: dict[str, Tensor] = {}
        previous: Any = None
        for name, head, main in self._heads():
            teaches = main or self.scheme.auxiliary
            if not (labelled or teaches or isinstance(head, BaseCascadeDecodeHead)):
                continue
            if isinstance(head, BaseCascadeDecodeHead):
                outputs = head.forward(features, previous)
            else:
                outputs = head.forward(features)
            previous = outputs
            of_views = split_views(outputs, len(views))  # once, for both losses
            terms = self._label_loss(head, of_views, data_samples, views, main)
            losses.update(add_prefix(terms, name))
            logits[name] = [prediction_logits(head, output) for output in of_views]
            shares[name] = labelled_share(head, data_samples, logits[name][0])
            if teaches:
                loss = self.teaching_loss(name, views, logits[name], shares[name])
                if main:
                    self.note(name, views, loss, shares[name])
                else:
                    loss = loss * auxiliary_weight(head)
                losses[f'{name}.loss_co_training'] = loss
        mutual = self.scheme.heads_loss(logits, shares)
        if mutual is not None:
            losses['loss_heads'] = mutual
        return losses

    def _label_loss(
        self,
        head: Any,
        of_views: list[Any],
        data_samples: SampleList,
        views: list[int],
        main: bool,
    ) -> dict[str, Tensor]:
        weights = {v: self.scheme.label_weights[v] for v in views}
        losses = {
            v: head.loss_by_feat(output, data_samples)
            for v, output in zip(views, of_views, strict=True)
            if weights[v]
        }
        if main:
            for v, terms in losses.items():
                total = weighted_losses([terms], [1.0])
                self.telemetry[f'label_view{v}'] = sum(
                    t.detach() for key, t in total.items() if 'loss' in key
                )
        return weighted_losses(list(losses.values()), [weights[v] for v in losses])


@MODELS.register_module()
class CoTrainingEncoderDecoder(_CoTrainingSegmentor, EncoderDecoder):
    """mmseg's ``EncoderDecoder``, trained by a scheme.

    Parameter names, evaluation and inference are the stock model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``EncoderDecoder``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, or
            a head has no logits at every pixel.
    """

    def __init__(self, scheme: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check_heads()
        self.init_co_training(scheme)


@MODELS.register_module()
class CoTrainingCascadeEncoderDecoder(_CoTrainingSegmentor, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder``, trained by a scheme.

    Each head runs once (the stock model runs all but the last twice). Arguments and
    errors are those of :class:`CoTrainingEncoderDecoder`.
    """

    def __init__(self, scheme: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check_heads()
        self.init_co_training(scheme)


def prediction_logits(head: Any, outputs: Any) -> Tensor:
    """The logits a head predicts with, among all that it returns in training.

    Args:
        head (nn.Module): A decode head.
        outputs (Tensor | tuple | list): What its ``forward`` returned.
    """
    if isinstance(outputs, Tensor):
        return outputs
    default = -1 if isinstance(outputs, list) else 0
    return outputs[_PREDICTION.get(type(head).__name__, default)]


def labelled_share(head: Any, data_samples: SampleList, logits: Tensor) -> Tensor:
    """How much of each of the head's pixels has a label (ours).

    Args:
        head (nn.Module): The head, for its ``ignore_index``.
        data_samples (list[SegDataSample]): Labels of B images.
        logits (Tensor): Of shape (B, C, H, W).

    Returns:
        Tensor: In [0, 1], of shape (B, H, W).
    """
    labels = [sample.gt_sem_seg.data for sample in data_samples]
    dtype = torch.promote_types(logits.dtype, torch.float32)
    valid = [(label != head.ignore_index).to(dtype) for label in labels]
    height, width = logits.shape[-2:]
    shares = [F.adaptive_avg_pool2d(v, (height, width)) for v in valid]
    return torch.cat(shares)


def auxiliary_weight(head: Any) -> float:
    """Weight that a head's co-training loss inherits from its label loss."""
    losses: Any = head.loss_decode
    if isinstance(losses, nn.ModuleList):
        losses = losses[0]
    return getattr(losses, 'loss_weight', 1.0)
