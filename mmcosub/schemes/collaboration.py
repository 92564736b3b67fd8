"""Intra-model collaborative learning."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.losses import soft_cross_entropy, weighted_mean
from mmcosub.losses.redundancy import channel_redundancy, kernel_redundancy
from mmcosub.registry import SCHEMES
from mmcosub.submodels import Site

from .base import Scheme, Teaching
from .stage_classifiers import StageClassifiers, stage_ends


@SCHEMES.register_module()
class Collaboration(Scheme):
    r"""Parts of one network learn from one another, in up to four ways.

    Known of `Intra-Model Collaborative Learning of Neural Networks
    <https://arxiv.org/abs/2105.09590>`_ are the four ways; their formulas are **ours**.

    - output consistency: two submodels by drop path, as in cosub, each of which sees
      the label with half the weight and is taught by the other.
    - intermediate consistency: the output and earlier heads teach each other, each by
      the mean of the others' logits (Song and Chai, arXiv 1805.11761). In segmentation
      these are the auxiliary heads; in classification, light ones on the earlier
      stages, which learn from the label, too, and are no part of the checkpoint.
    - representation: mean squared correlation between channels of what the backbone
      puts out.
    - kernel: mean squared cosine similarity of the kernels of each convolution of the
      backbone, a patch embedding's included.

    Args:
        output (float): Weight of the first. Defaults to 1.
        intermediate (float): Weight of the second. Defaults to 0.
        representation (float): Weight of the third. Defaults to 0.
        kernel (float): Weight of the fourth. Defaults to 0.
        intermediate_temperature (float): Temperature of the second's soft loss.
            Defaults to 2.
        label_share (float): Share of the label in what the light heads learn, in
            [0, 1]; the rest is the others'. Defaults to 0.5.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If a weight is negative, all are 0, or the model has not what one
            of them needs.
    """

    def __init__(
        self,
        output: float = 1.0,
        intermediate: float = 0.0,
        representation: float = 0.0,
        kernel: float = 0.0,
        intermediate_temperature: float = 2.0,
        label_share: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.weights = dict(
            output=output,
            intermediate=intermediate,
            representation=representation,
            kernel=kernel,
        )
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(
                f'The weights {self.weights} must be 0 or more, one of them above 0.'
            )
        if not (intermediate_temperature > 0 and 0 <= label_share <= 1):
            raise ValueError(
                f'intermediate_temperature={intermediate_temperature} must be above 0 '
                f'and label_share={label_share} in [0, 1].'
            )
        self.intermediate_temperature = intermediate_temperature
        self.label_share = label_share
        self.light_heads = False

    @property
    def label_weights(self) -> Sequence[float]:
        """See :class:`Scheme`."""
        return [0.5, 0.5] if self.weights['output'] else [1.0]

    @property
    def teachings(self) -> Sequence[Teaching]:
        """See :class:`Scheme`."""
        weight = self.weights['output'] * self.ramp / 2
        return [Teaching(0, 1, weight), Teaching(1, 0, weight)] if weight else []

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Scheme`."""
        if self.weights['kernel'] and not _convolutions(model.backbone):
            raise ValueError(
                f'{type(model.backbone).__name__} has no convolution whose kernels '
                'could be redundant. Set scheme.kernel=0.'
            )
        if self.weights['representation'] and not hasattr(type(model), 'with_neck'):
            raise ValueError(
                f'The backbone of {type(model).__name__} puts out logits, not '
                'features. Set scheme.representation=0.'
            )
        if not self.weights['intermediate']:
            return {}
        if hasattr(model, 'decode_head'):
            if len(model._heads()) < 2:
                raise ValueError(
                    'Intermediate consistency needs an auxiliary head, and the model '
                    'has none. Set model.auxiliary_head, or scheme.intermediate=0.'
                )
            return {}
        self.light_heads = True
        return {'stage_classifiers': StageClassifiers.of(model)}

    def taps(self, model: Any) -> list[nn.Module]:
        """See :class:`Scheme`."""
        if 'stage_classifiers' in model.extras:
            return stage_ends(model.sites)
        return []

    def stage_losses(
        self, model: Any, tapped: Sequence[Tensor], views: list[int], label_loss: Any
    ) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """See :class:`Scheme`."""
        if not tapped:
            return {}, {}
        heads = model.extras['stage_classifiers'](tapped)
        logits = {f'stage{i}': list(z.chunk(len(views))) for i, z in enumerate(heads)}
        weight = self.weights['intermediate'] * self.label_share / (len(logits) + 1)
        weights = self.label_weights
        total = sum(
            weights[v] * label_loss(z)
            for of_stage in logits.values()
            for v, z in zip(views, of_stage, strict=True)
        )
        return logits, {'loss_stages': weight * total}

    def heads_loss(
        self, logits: Mapping[str, Sequence[Tensor]], weights: Mapping[str, Tensor]
    ) -> Tensor | None:
        """See :class:`Scheme`: heads teach each other, view by view."""
        if not self.weights['intermediate'] or len(logits) < 2:
            return None
        terms = []
        for of_view in zip(*logits.values(), strict=True):
            for i, (name, student) in enumerate(zip(logits, of_view, strict=True)):
                others = [z for k, z in enumerate(of_view) if k != i]
                terms.append(self._taught(student, others, weights.get(name)))
        share = 1 - self.label_share if self.light_heads else 1.0
        loss = torch.stack(terms).mean()
        return self.weights['intermediate'] * self.ramp * share * loss

    def _taught(
        self, student: Tensor, others: Sequence[Tensor], weight: Tensor | None
    ) -> Tensor:
        # Heads of a segmentor have resolutions of their own.
        resized = [_resized(z.detach(), student.shape[2:]) for z in others]
        mean = torch.stack(resized).mean(dim=0)
        loss = soft_cross_entropy(student, mean, self.intermediate_temperature)
        return weighted_mean(loss, weight)

    def penalties(self, model: Any, features: Any) -> dict[str, Tensor]:
        """See :class:`Scheme`: redundancy of representations and kernels."""
        losses = {}
        if self.weights['representation']:
            maps = [features] if isinstance(features, Tensor) else list(features)
            terms = [channel_redundancy(x) for x in maps]
            losses['loss_representation'] = (
                self.weights['representation'] * torch.stack(terms).mean()
            )
        if self.weights['kernel']:
            terms = [kernel_redundancy(w) for w in _convolutions(model.backbone)]
            losses['loss_kernel'] = self.weights['kernel'] * torch.stack(terms).mean()
        return losses

    def check(self, sites: Sequence[Site]) -> None:
        """See :class:`Scheme`: rates above 0 are needed by output consistency alone."""
        if self.weights['output']:
            super().check(sites)


def _convolutions(backbone: nn.Module) -> list[Tensor]:
    """Weights of the convolutions with more than one kernel."""
    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        module.weight
        for module in backbone.modules()
        if isinstance(module, kinds) and len(module.weight) > 1
    ]


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return nn.functional.interpolate(values, tuple(size), mode='bilinear')
