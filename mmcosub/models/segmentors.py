"""Co-training wrappers of mmseg's segmentors.

Shapes: ``V`` views, ``B`` images, ``C`` classes, ``H, W`` a head's own resolution.
"""

from typing import Any

from mmseg.models.segmentors import CascadeEncoderDecoder, EncoderDecoder
from mmseg.utils import SampleList, add_prefix
from torch import Tensor

from mmcosub.registry import MODELS
from mmcosub.schemes import Iteration, Pass, Scheme

from .co_training import CoTraining
from .segmentor_heads import Head, labelled_fraction, list_heads
from .views import loss_value, split_views, weighted_losses


class CoTrainingSegmentor(CoTraining):
    """Loss of a co-trained segmentor; evaluation is the upstream model's."""

    decode_head: Any
    with_neck: bool
    with_auxiliary_head: bool
    neck: Any

    def init_segmentor(self, scheme: dict | Scheme) -> None:
        """Check the heads and set up co-training.

        Args:
            scheme (dict | Scheme): The scheme or its config.
        """
        heads = list_heads(self)
        main = next(head for head in heads if head.main)
        where = f'the label loss of {type(main.module).__name__}'
        if main.module.out_channels == 1:
            where = 'model.decode_head.out_channels=1'
        self.init_co_training(scheme, main.activations, where)
        if self.scheme.auxiliary:
            self._check_other_losses(heads, 'auxiliary=False')

    def heads_alike(self) -> list[str]:
        """Return names of the heads that predict the main head's classes per pixel.

        The main head is among them.

        Raises:
            ValueError: If the scheme's distillation loss does not fit one of them.
        """
        heads = [head for head in list_heads(self) if not head.refines_points]
        classes = next(head for head in heads if head.main).module.out_channels
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

    def pass_loss(
        self,
        iteration: Iteration,
        inputs: Tensor,
        data_samples: SampleList,
        views: list[int],
    ) -> dict[str, Tensor]:
        """Return the weighted losses of some views.

        Args:
            iteration (Iteration): The iteration, with the logits of earlier passes.
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list[SegDataSample]): Their labels, in ``gt_sem_seg``.
            views (list[int]): The views.

        Returns:
            dict[str, Tensor]: The upstream losses, combined over views, one
            co-training loss per co-trained head, and those of additional objectives.
        """
        features, tapped = self.run_backbone(iteration, inputs, views)
        done = Pass(self, views, features, tapped, {}, {}, {})
        if self.with_neck:
            features = self.neck(features)
        labelled = any(self.scheme.label_weights[v] for v in views)
        every = labelled or self.scheme.auxiliary
        heads = [head for head in list_heads(self) if every or not head.auxiliary]
        done.scale = next(head.weight for head in heads if head.main)

        losses: dict[str, Tensor] = {}
        previous: Any = None
        samples = iteration.rows.samples(data_samples, len(views))
        for head in heads:
            previous = head.run(features, previous, samples)
            outputs = split_views(iteration.rows.spread(previous), len(views))
            terms = self._label_losses(iteration, head, outputs, data_samples, views)
            losses.update(add_prefix(terms, head.name))
            co_trains = head.main or self.scheme.auxiliary
            if head.refines_points or not (co_trains or self.scheme.objectives):
                continue  # its logits are not used
            self._record_logits(done, iteration, head, outputs, data_samples)
            if co_trains:
                loss = self._co_training_loss(iteration, head, done)
                losses[f'{head.name}.loss_co_training'] = loss
        for objective in self.scheme.objectives:
            losses.update(objective.losses(done))
        return losses

    def _label_losses(
        self,
        iteration: Iteration,
        head: Head,
        outputs: list[Any],
        data_samples: SampleList,
        views: list[int],
    ) -> dict[str, Tensor]:
        """Return a head's upstream losses, combined over the views that see labels."""
        weights = {v: self.scheme.label_weights[v] for v in views}
        losses = {
            v: head.label_losses(output, data_samples)
            for v, output in zip(views, outputs, strict=True)
            if weights[v]
        }
        if head.main:
            for v, terms in losses.items():
                for key, term in terms.items():
                    if 'loss' in key:
                        iteration.add(f'label_view{v}', loss_value(term))
        return weighted_losses(list(losses.values()), [weights[v] for v in losses])

    def _record_logits(
        self,
        done: Pass,
        iteration: Iteration,
        head: Head,
        outputs: list[Any],
        data_samples: SampleList,
    ) -> None:
        """Record a head's logits, and the weights and factor of its pixels."""
        logits = [head.logits(output) for output in outputs]
        key = (head.module.ignore_index, *logits[0].shape[2:])
        if key not in iteration.labelled:
            fraction = labelled_fraction(head.module, data_samples, logits[0])
            iteration.labelled[key] = fraction
        done.logits[head.name] = logits
        done.weights[head.name] = labelled = iteration.labelled[key]
        # Keeps the balance of label loss and distillation when pixels have no label.
        done.factors[head.name] = head.averaging(labelled, data_samples)

    def _co_training_loss(self, iteration: Iteration, head: Head, done: Pass) -> Tensor:
        """Return the co-training loss of a head."""
        weight = done.weights[head.name]
        logits = done.logits[head.name]
        loss = iteration.teach(head.name, done.views, logits, weight)
        loss = loss * done.factors[head.name] * head.weight
        if not head.main:
            return loss
        iteration.add('co_training', loss)
        threshold = getattr(head.module, 'threshold', None) or 0.5
        iteration.note_agreement(head.name, weight, threshold)
        return loss


@MODELS.register_module()
class CoTrainingEncoderDecoder(CoTrainingSegmentor, EncoderDecoder):
    """mmseg's ``EncoderDecoder``, trained by a scheme.

    Parameter names, evaluation and inference are the upstream model's.

    Args:
        scheme (dict): Config of the scheme, such as ``dict(type='Cosub')``.
        **kwargs: Arguments of ``EncoderDecoder``.

    Raises:
        ValueError: If the backbone has no known block, every drop-path rate is 0, a
            head has no logits at every pixel, or the scheme's distillation loss does
            not fit the decode head's loss.
    """

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.init_segmentor(scheme)
        self.init_unlabelled(unlabelled)


@MODELS.register_module()
class CoTrainingCascadeEncoderDecoder(CoTrainingSegmentor, CascadeEncoderDecoder):
    """mmseg's ``CascadeEncoderDecoder``, trained by a scheme.

    Each head runs once (the upstream model runs all but the last twice). Arguments and
    errors are those of :class:`CoTrainingEncoderDecoder`.
    """

    def __init__(
        self, scheme: dict, unlabelled: dict | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.init_segmentor(scheme)
        self.init_unlabelled(unlabelled)
