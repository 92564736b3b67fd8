"""Additional objectives, beside label losses and distillation between views.

The penalties on similar channels and kernels have our formulas: intra-model
collaborative learning (arXiv 2105.09590) names both without one.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .step import Step


class Objective:
    """Base class of additional losses of a scheme.

    Args:
        weight (float): Weight of the losses. Defaults to 1.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Inspect the model, and return modules to add to it as ``Scheme.prepare``."""
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        """Return blocks of the model whose outputs the objective needs."""
        return []

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return weighted losses by name, after the heads of a pass."""
        raise NotImplementedError


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
