"""Intra-model collaborative learning."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import SCHEMES, Scheme
from .distillation import Teaching, require
from .extras import Objective
from .intermediate import IntermediateConsistency
from .step import Step


@SCHEMES.register_module()
class Collaboration(Scheme):
    r"""Scheme of up to four consistency and redundancy terms within one network.

    `Intra-Model Collaborative Learning of Neural Networks
    <https://arxiv.org/abs/2105.09590>`_ names the four terms; the formulas are **our
    own**.

    - output consistency: mutual distillation between two DropPath submodels, as in
      cosub, each with half of the label loss.
    - intermediate consistency: mutual distillation between the output and earlier
      heads, each from the mean of the others' logits (Song and Chai, arXiv
      1805.11761). In segmentation, these are the auxiliary heads; in classification,
      light heads on the earlier stages, which also learn from the label and are not
      part of the checkpoint.
    - representation: mean squared correlation between channels of the backbone's
      outputs.
    - kernel: mean squared cosine similarity of the kernels of each convolution of the
      backbone, patch embeddings included.

    Args:
        output (float): Weight of output consistency. Defaults to 1.
        intermediate (float): Weight of intermediate consistency. Defaults to 0.
        representation (float): Weight of the representation term. Defaults to 0.
        kernel (float): Weight of the kernel term. Defaults to 0.
        intermediate_temperature (float): Temperature of intermediate consistency.
            Defaults to 2.
        label_share (float): Fraction of the label loss in the losses of the light
            heads, in [0, 1]; the rest is distillation. Defaults to 0.5.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If a weight is negative, all are 0, or the model lacks what a term
            needs.
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
        values = self.weights.values()
        valid = min(values) >= 0 and any(values)
        require('weights', self.weights, valid, '0 or more, one of them above 0')
        temperature = intermediate_temperature
        require('intermediate_temperature', temperature, temperature > 0, 'above 0')
        require('label_share', label_share, 0 <= label_share <= 1, 'in [0, 1]')
        terms: list[Objective] = [
            IntermediateConsistency(intermediate, temperature, label_share),
            RepresentationRedundancy(representation),
            KernelRedundancy(kernel),
        ]
        self._objectives = [term for term in terms if term.weight]

    @property
    def label_weights(self) -> Sequence[float]:
        return [0.5, 0.5] if self.weights['output'] else [1.0]

    @property
    def teachings(self) -> Sequence[Teaching]:
        weight = self.weights['output'] * self.ramp / 2
        return [Teaching(0, 1, weight), Teaching(1, 0, weight)] if weight else []

    @property
    def objectives(self) -> Sequence[Objective]:
        """See :class:`Scheme`: all terms but output consistency."""
        return self._objectives


class RepresentationRedundancy(Objective):
    """Mean squared correlation between channels of the backbone's outputs.

    Over all images and pixels.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Objective`: the backbone must return features."""
        if not hasattr(type(model), 'with_neck'):
            raise ValueError(
                f'The backbone of {type(model).__name__} returns logits, not '
                'features. Set scheme.representation=0.'
            )
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        features = step.features
        maps = [features] if isinstance(features, Tensor) else list(features)
        terms = []
        for x in maps:
            x = _precise(x.transpose(0, 1).flatten(1))  # (C, *)
            terms.append(_mean_similarity(x - x.mean(dim=1, keepdim=True)))
        return {'loss_representation': self.weight * torch.stack(terms).mean()}


class KernelRedundancy(Objective):
    """Mean squared cosine similarity between the kernels of each convolution.

    Convolutions of the backbone, patch embeddings included.
    """

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Objective`: the backbone must have a convolution."""
        if not _kernels(model.backbone):
            raise ValueError(
                f'{type(model.backbone).__name__} has no convolution whose kernels '
                'could be redundant. Set scheme.kernel=0.'
            )
        return {}

    def losses(self, step: Step) -> dict[str, Tensor]:
        kernels = _kernels(step.model.backbone)
        terms = [_mean_similarity(_precise(w.flatten(1))) for w in kernels]
        return {'loss_kernel': self.weight * torch.stack(terms).mean()}


def _kernels(backbone: nn.Module) -> list[Tensor]:
    """Return the weights of the convolutions with more than one kernel."""
    classes = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        module.weight
        for module in backbone.modules()
        if isinstance(module, classes) and len(module.weight) > 1
    ]


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _mean_similarity(x: Tensor) -> Tensor:
    """Return the mean squared cosine similarity between different rows, in [0, 1]."""
    count = len(x)
    if count < 2:
        return x.new_zeros(())
    x = F.normalize(x, dim=1)
    # The smaller of the two Gram matrices has the same sum of squares.
    gram = x @ x.T if count <= x.shape[1] else x.T @ x
    own = (x * x).sum(dim=1)
    return (gram.square().sum() - own.square().sum()) / (count * (count - 1))
