"""Mutual distillation between the heads of one network (not in the paper)."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .extras import Objective
from .stage_classifiers import StageClassifiers, stage_ends
from .step import Step


class IntermediateConsistency(Objective):
    """Distillation to the output and earlier heads, each from the mean of the others.

    The mean is of logits, as in Song and Chai's collaborative learning (arXiv
    1805.11761). In segmentation, the earlier heads are the auxiliary heads with the
    same classes (not STDC's boundary head); in classification, light heads on the
    earlier stages, which also learn from the label: ``label_share`` is its fraction in
    their losses.
    """

    def __init__(self, weight: float, temperature: float, label_share: float) -> None:
        super().__init__(weight)
        self.temperature = temperature
        self.label_share = label_share
        self._heads: list[str] = []
        self._ends: list[nn.Module] = []

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Objective`: a segmentor needs an auxiliary head."""
        if not hasattr(model, 'decode_head'):
            self._heads, self._ends = ['head'], stage_ends(model.sites)
            return {'stage_classifiers': StageClassifiers.of(model, self._ends)}
        self._heads, self._ends = model.heads_alike(), []
        if len(self._heads) < 2:
            raise ValueError(
                'Intermediate consistency needs an auxiliary head, or an earlier one '
                'of a cascade, with the classes of the main head at every pixel, and '
                'the model has none. Set model.auxiliary_head, or '
                'scheme.intermediate=0.'
            )
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        return self._ends

    def losses(self, step: Step) -> dict[str, Tensor]:
        # Auxiliary heads do not run if no view sees a label.
        logits: dict[str, Sequence[Tensor]] = {
            name: z for name in self._heads if (z := step.of_pass(name))
        }
        losses: dict[str, Tensor] = {}
        factor = self.weight * step.scheme.ramp
        if step.tapped:
            heads = step.model.extras['stage_classifiers'](step.tapped)
            light = {f'stage{i}': z.chunk(len(step.views)) for i, z in enumerate(heads)}
            losses['loss_stages'] = self._label_loss(step, light)
            factor *= 1 - self.label_share
            logits.update(light)
        if len(logits) > 1:
            losses['loss_heads'] = factor * self._distillation_loss(step, logits)
        return losses

    def _label_loss(self, step: Step, light: Mapping[str, Sequence[Tensor]]) -> Tensor:
        assert step.label_loss is not None
        weights = step.scheme.label_weights
        terms = [
            weights[v] * step.label_loss(z)
            for of_views in light.values()
            for v, z in zip(step.views, of_views, strict=True)
        ]
        # Mean over the light heads and the output, whose label loss is the model's.
        fraction = self.label_share / (len(light) + 1)
        return self.weight * fraction * torch.stack(terms).sum()

    def _distillation_loss(
        self, step: Step, logits: Mapping[str, Sequence[Tensor]]
    ) -> Tensor:
        """Return the mean distillation loss over views and heads."""
        terms = []
        for of_view in zip(*logits.values(), strict=True):
            for i, (name, student) in enumerate(zip(logits, of_view, strict=True)):
                others = [
                    _resized(z.detach(), student.shape[2:])
                    for k, z in enumerate(of_view)
                    if k != i
                ]
                target = torch.stack(others).mean(dim=0)
                loss = step.scheme.soft_loss(student, target, self.temperature)
                terms.append(step.mean(name, loss))
        return torch.stack(terms).mean()


def _resized(values: Tensor, size: Sequence[int]) -> Tensor:
    """Resize logits to another head's resolution."""
    if tuple(values.shape[2:]) == tuple(size):
        return values
    return nn.functional.interpolate(values, tuple(size), mode='bilinear')
