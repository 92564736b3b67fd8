"""Objectives that penalise similar channels and kernels (our formulas)."""

from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.losses.redundancy import channel_redundancy, kernel_redundancy

from .objective import Objective, Pass


class RepresentationRedundancy(Objective):
    """Mean squared correlation between channels of the backbone's outputs.

    Args:
        weight (float): Weight of the penalty.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Objective`: the backbone must return features."""
        if not hasattr(type(model), 'with_neck'):
            raise ValueError(
                f'The backbone of {type(model).__name__} returns logits, not '
                'features. Set scheme.representation=0.'
            )
        return {}

    def losses(self, done: Pass) -> dict[str, Tensor]:
        """See :class:`Objective`."""
        features = done.features
        maps = [features] if isinstance(features, Tensor) else list(features)
        mean = torch.stack([channel_redundancy(x) for x in maps]).mean()
        return {'loss_representation': self.weight * mean}


class KernelRedundancy(Objective):
    """Mean squared cosine similarity of the kernels of each convolution.

    Convolutions of the backbone, patch embeddings included.

    Args:
        weight (float): Weight of the penalty.
    """

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Objective`: the backbone must have a convolution."""
        backbone = model.backbone
        if not _kernels(backbone):
            raise ValueError(
                f'{type(backbone).__name__} has no convolution whose kernels could be '
                'redundant. Set scheme.kernel=0.'
            )
        return {}

    def losses(self, done: Pass) -> dict[str, Tensor]:
        """See :class:`Objective`."""
        terms = [kernel_redundancy(w) for w in _kernels(done.model.backbone)]
        return {'loss_kernel': self.weight * torch.stack(terms).mean()}


def _kernels(backbone: nn.Module) -> list[Tensor]:
    """Return the weights of the convolutions with more than one kernel."""
    classes = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        module.weight
        for module in backbone.modules()
        if isinstance(module, classes) and len(module.weight) > 1
    ]
