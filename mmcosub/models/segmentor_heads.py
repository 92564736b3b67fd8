"""Running a segmentor's heads for several views at once.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import Tensor, nn

from .co_training import split_views

# Where the logits that a head predicts with are among its training outputs, for heads
# with several. Not listed: a tuple's first, a list's (successive refinements') last.
_PREDICTION = {'PIDHead': 1}


@dataclass(frozen=True)
class Head:
    """One head of a segmentor.

    Args:
        name (str): Prefix of its losses, as in the stock model.
        module (nn.Module): The head.
        main (bool): Whether it is the one to predict with.
        auxiliary (bool): Whether it is one of ``auxiliary_head``.
    """

    name: str
    module: Any
    main: bool
    auxiliary: bool

    @property
    def weight(self) -> float:
        """Weight that its co-training loss inherits from its label loss."""
        losses: Any = self.module.loss_decode
        if isinstance(losses, nn.ModuleList):
            losses = losses[0]
        return getattr(losses, 'loss_weight', 1.0)


def list_heads(model: Any) -> list[Head]:
    """All heads of a segmentor, in the order in which they run.

    Args:
        model (EncoderDecoder): The segmentor.

    Raises:
        ValueError: If a head has no logits at every pixel.
    """
    decode = model.decode_head
    if isinstance(decode, nn.ModuleList):
        last = len(decode) - 1
        heads = [Head(f'decode_{i}', h, i == last, False) for i, h in enumerate(decode)]
    else:
        heads = [Head('decode', decode, True, False)]
    if model.with_auxiliary_head:
        aux = model.auxiliary_head
        if isinstance(aux, nn.ModuleList):
            heads += [Head(f'aux_{i}', h, False, True) for i, h in enumerate(aux)]
        else:
            heads.append(Head('aux', aux, False, True))
    stock = (BaseDecodeHead.loss, BaseCascadeDecodeHead.loss)
    for head in heads:
        if getattr(type(head.module), 'loss', None) not in stock:
            raise ValueError(
                f'{type(head.module).__name__} ({head.name}) computes its loss without '
                'logits at every pixel, so views cannot teach each other there. Use a '
                'head with the loss of BaseDecodeHead (UPerHead, FCNHead, '
                'SegformerHead, PSPHead, ASPPHead, ...).'
            )
    return heads


def run_heads(
    heads: list[Head], features: Any, views: int
) -> Iterator[tuple[Head, list[Any]]]:
    """Run heads one after another.

    Args:
        heads (list[Head]): Those to run, all of a cascade among them.
        features (tuple[Tensor]): Feature maps with V * B rows.
        views (int): Number of views V.

    Yields:
        tuple: A head, and its training outputs for each view.
    """
    previous: Any = None
    for head in heads:
        if isinstance(head.module, BaseCascadeDecodeHead):
            outputs = head.module.forward(features, previous)
        else:
            outputs = head.module.forward(features)
        previous = outputs
        yield head, split_views(outputs, views)


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
    labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
    dtype = torch.promote_types(logits.dtype, torch.float32)
    valid = (labels != head.ignore_index).to(dtype)
    height, width = logits.shape[-2:]
    return F.adaptive_avg_pool2d(valid, (height, width)).squeeze(1)
