"""Co-training wrappers of mmseg's segmentors.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from functools import cached_property, partial
from typing import Any

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.utils import SampleList, add_prefix
from torch import Tensor, nn

from mmcosub.registry import MODELS
from mmcosub.schemes import Step

from .co_training import CoTraining
from .segmentor_heads import (
    Head,
    MaskHead,
    PointHead,
    classifies_masks,
    is_a,
    labelled_fraction,
    split_views,
)


class CoTrainingSegmentor(CoTraining):
    """Loss of a co-trained segmentor; evaluation is the upstream model's."""

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        heads = list_heads(self)
        main = _main(heads)
        where = f'the label loss of {type(main.module).__name__}'
        if main.module.out_channels == 1:
            where = 'model.decode_head.out_channels=1'
        self.init_co_training(scheme, main.activations, where)
        if self.scheme.auxiliary:
            self._check_other_losses(heads, 'auxiliary=False')
        self.init_unlabelled(unlabelled)

    @cached_property
    def heads(self) -> list[Head]:
        """All heads; not to be read before the first step, as FSDP replaces modules."""
        return list_heads(self)

    def heads_alike(self) -> list[str]:
        """Return names of the heads that predict the main head's classes per pixel.

        Raises a ``ValueError`` if the distillation loss does not fit one of them.
        """
        heads = [head for head in list_heads(self) if not head.refines_points]
        classes = _main(heads).module.out_channels
        alike = [head for head in heads if head.module.out_channels == classes]
        self._check_other_losses(alike, 'intermediate=0')
        return [head.name for head in alike]

    def _check_other_losses(self, heads: list[Head], instead: str) -> None:
        """Raise if the distillation loss does not fit the label loss of a head."""
        needed = self.scheme.soft_loss.activation
        for head in heads:
            found = head.activations
            if found and needed not in found and not head.refines_points:
                raise ValueError(
                    f'{type(head.module).__name__} ({head.name}) has a label loss with '
                    f'a {"".join(found)}, but the distillation loss of the main head '
                    f'uses a {needed}. Use a label loss with a {needed} there, or set '
                    f'scheme.{instead}.'
                )

    def pass_loss(self, step: Step, data_samples: SampleList) -> dict[str, Tensor]:
        """See :class:`SubmodelTraining`; data samples have ``gt_sem_seg``."""
        views = len(step.views)
        features = self.neck(step.features) if self.with_neck else step.features
        samples = step.rows.samples(data_samples, views)
        auxiliary = self.scheme.auxiliary
        labelled = any(self.scheme.label_weights[v] for v in step.views)
        step.scale = self.label_weight
        losses: dict[str, Tensor] = {}
        previous: Any = None
        for head in self.heads:
            if head.auxiliary and not (labelled or auxiliary):
                continue
            previous = head.run(features, previous, samples)
            outputs = split_views(step.rows.spread(previous), views)
            label_losses = partial(head.label_losses, data_samples=data_samples)
            terms = step.label_losses(outputs, label_losses, log=head.main)
            losses.update(add_prefix(terms, head.name))
            co_trains = head.main or auxiliary
            if head.refines_points or not (co_trains or self.scheme.objectives):
                continue  # its logits are not used
            logits = [head.logits(output) for output in outputs]
            step.record(head.name, logits)
            if head.name not in step.weights:  # else of an earlier pass
                weight = labelled_fraction(head.module, data_samples, logits[0])
                step.weights[head.name] = weight
                # Keeps the balance of label loss and distillation when pixels have no
                # label.
                step.factors[head.name] = head.averaging(weight, data_samples)
            if co_trains:
                threshold = getattr(head.module, 'threshold', None) or 0.5
                losses[f'{head.name}.loss_co_training'] = step.distillation(
                    head.name, head.weight, head.main, threshold
                )
        return losses

    @property
    def label_weight(self) -> float:
        return _main(self.heads).weight

    def view_logits(
        self, features: Any, data_samples: list, views: int
    ) -> list[Tensor]:
        if self.with_neck:
            features = self.neck(features)
        previous: Any = None
        for head in self.heads:
            if head.auxiliary or head.refines_points:
                continue
            previous = head.run(features, previous, list(data_samples) * views)
            if head.main:
                break
        return [head.logits(output) for output in split_views(previous, views)]


def _main(heads: list[Head]) -> Head:
    return next(head for head in heads if head.main)


def list_heads(model: Any) -> list[Head]:
    """Return all heads of a segmentor, in the order in which they run.

    Raises a ``ValueError`` if a head has no logits at every pixel.
    """
    decode, auxiliary = _named('decode', model.decode_head), []
    if model.with_auxiliary_head:
        auxiliary = _named('aux', model.auxiliary_head)
    main = [name for name, head in decode if not is_a(head, 'PointHead')][-1]
    return [
        *(_head(name, h, name == main, False, model.train_cfg) for name, h in decode),
        *(_head(name, h, False, True) for name, h in auxiliary),
    ]


def _named(prefix: str, heads: nn.Module) -> list[tuple[str, nn.Module]]:
    if not isinstance(heads, nn.ModuleList):
        return [(prefix, heads)]
    return [(f'{prefix}_{i}', head) for i, head in enumerate(heads)]


def _head(name: str, module: nn.Module, *settings: Any) -> Head:
    if is_a(module, 'PointHead'):
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


@MODELS.register_module()
class CoTrainingEncoderDecoder(CoTrainingSegmentor, EncoderDecoder):
    """mmseg's ``EncoderDecoder``, trained by a scheme.

    Parameter names, evaluation and inference are the upstream model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        unlabelled (dict, optional): Arguments of :class:`~mmcosub.schemes.Unlabelled`,
            for batches with unlabelled images. Defaults to None.
        **kwargs: Arguments of ``EncoderDecoder``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, a
            head has no logits at every pixel, or the scheme's distillation loss does
            not fit the decode head's loss.
    """


@MODELS.register_module()
class CoTrainingCascadeEncoderDecoder(CoTrainingSegmentor, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder``, trained by a scheme.

    Each head runs once (the upstream model runs all but the last twice). Arguments and
    errors are those of :class:`CoTrainingEncoderDecoder`.
    """
