"""Distillation between views: who teaches whom, and by which loss.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmcosub.losses import SOFT_LOSSES


@dataclass(frozen=True)
class Teaching:
    """Distillation from one view, or from the mean of several, to another view.

    Args:
        teacher (int | Mapping[int, float]): View whose detached logits are the target,
            or the weights of several views in it.
        student (int): View that learns.
        weight (float): Factor of the distillation loss.
    """

    teacher: int | Mapping[int, float]
    student: int
    weight: float

    def target(self, logits: Sequence[Tensor]) -> Tensor:
        """Return the target, from the logits of each view, of shape (B, C, *)."""
        if isinstance(self.teacher, int):
            return logits[self.teacher].detach()
        parts = [weight * logits[v].detach() for v, weight in self.teacher.items()]
        return torch.stack(parts).sum(dim=0)


def require(name: str, value: Any, is_valid: bool, valid: str) -> None:
    """Raise a ``ValueError`` if a setting of a scheme is not valid."""
    if not is_valid:
        raise ValueError(f'scheme.{name} must be {valid}, not {value!r}.')


class SoftLoss:
    """Distillation loss of a view against its teacher, at every position.

    Arguments as in :class:`Scheme`; ``softmax`` is what 'auto' chooses for a softmax.
    """

    def __init__(
        self, name: str = 'auto', temperature: float = 1.0, softmax: str = 'ce'
    ) -> None:
        valid = ['auto', *SOFT_LOSSES]
        require('loss', name, name in valid, f'one of {valid}')
        require('temperature', temperature, temperature > 0, 'above 0')
        self.name = name
        self.temperature = temperature
        self.softmax = softmax
        self.function = SOFT_LOSSES[softmax if name == 'auto' else name]

    @property
    def activation(self) -> str:
        """Function that turns logits into probabilities, 'softmax' or 'sigmoid'."""
        return 'sigmoid' if self.function is SOFT_LOSSES['bce'] else 'softmax'

    def fit(self, activations: set[str], where: str) -> None:
        """Choose the loss by the label loss, or raise if the chosen one does not fit.

        ``where`` is the setting that decides the activations of the label loss.
        """
        if self.name == 'auto':
            binary = activations == {'sigmoid'}
            self.function = SOFT_LOSSES['bce' if binary else self.softmax]
            return
        needed = self.activation
        if activations and needed not in activations:
            better = 'bce' if needed == 'softmax' else self.softmax
            raise ValueError(
                f'scheme.loss={self.name!r} uses a {needed}, but {where} uses a '
                f'{"".join(activations)}, so the distillation targets would not be '
                f'the predictions. Set scheme.loss={better!r} or leave it out '
                "('auto')."
            )

    def __call__(
        self, student: Tensor, teacher: Tensor, temperature: float | None = None
    ) -> Tensor:
        """Return the loss (B, *) of logits (B, C, *), at a temperature of this call."""
        return self.function(student, teacher, temperature or self.temperature)
