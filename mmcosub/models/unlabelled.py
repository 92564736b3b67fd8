"""Loss on unlabelled images for mmseg's and mmpretrain's models.

Shapes: ``V`` students, ``U`` unlabelled images, ``C`` classes.
"""

from typing import Any

import torch
from torch import Tensor

from mmcosub.schemes.unlabelled_loss import UnlabelledLoss

from .segmentor_heads import list_heads
from .views import split_views


class UnlabelledBatch(UnlabelledLoss):
    """Loss of a segmentor or classifier on the unlabelled images of a batch.

    Args:
        model (CoTraining): The model, after ``init_co_training``.
        cfg (dict): Arguments of :class:`~mmcosub.schemes.Unlabelled`.
    """

    def __init__(self, model: Any, cfg: dict) -> None:
        super().__init__(model, model, cfg)

    def loss(self, model: Any, batch: dict) -> Tensor:
        """Return the weighted loss, times the weight of the label loss.

        Args:
            model (CoTraining): The model.
            batch (dict): From :meth:`preprocess`.
        """
        samples = batch['data_samples']
        loss = self(
            model,
            model,
            batch['weak'],
            batch['strong'],
            lambda network, x: _logits(network, network.backbone(x), samples, 1)[0],
            lambda features, views: _logits(model, features, samples, views),
            batch.get('valid'),
        )
        return loss * _label_weight(model)

    def preprocess(self, model: Any, batch: dict) -> dict:
        """Normalise the images, and find their padding.

        Args:
            model (CoTraining): The model.
            batch (dict): ``weak`` and ``strong``, lists of images, and
                ``data_samples``, whose label maps are 0 outside of padding.
        """
        segments = hasattr(model, 'decode_head')
        both = []
        for name in ('weak', 'strong'):
            data = dict(inputs=batch[name], data_samples=batch['data_samples'])
            # In training mode, a classifier's preprocessor would apply mixup.
            both.append(model.data_preprocessor(data, segments))
        samples = both[0]['data_samples']
        done = dict(weak=both[0]['inputs'], strong=both[1]['inputs'])
        if segments:
            maps = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
            done['valid'] = maps == 0
        return dict(done, data_samples=samples)


def _label_weight(model: Any) -> float:
    """Return the weight of the label loss."""
    if hasattr(model, 'decode_head'):
        return next(head.weight for head in list_heads(model) if head.main)
    return getattr(model.label_loss, 'loss_weight', 1.0)


def _logits(model: Any, features: Any, samples: list, views: int) -> list[Tensor]:
    """Return the prediction's logits of each view, of shape (U, C, ...)."""
    if model.with_neck:
        features = model.neck(features)
    if not hasattr(model, 'decode_head'):
        head = getattr(model, 'head', None)  # None if the backbone includes the head
        logits = features if head is None else head(features)
        return list(logits.chunk(views))
    previous: Any = None
    for head in list_heads(model):
        if head.auxiliary or head.refines_points:
            continue
        previous = head.run(features, previous, list(samples) * views)
        if head.main:
            return [head.logits(out) for out in split_views(previous, views)]
    raise AssertionError('A segmentor has a main head.')
