"""Distillation between views: who teaches whom, and by which loss.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


class SoftLoss:
    """Distillation loss of a view against its teacher, at every position.

    Name and temperature are those of :class:`Scheme`; ``softmax`` is the loss that
    'auto' chooses for a softmax, 'ce' or 'kl'.
    """

    def __init__(
        self, name: str = 'auto', temperature: float = 1.0, softmax: str = 'ce'
    ) -> None:
        if name not in ('auto', *SOFT_LOSSES):
            raise ValueError(
                f'Unknown loss {name!r}. Valid ones: {["auto", *SOFT_LOSSES]}.'
            )
        if not temperature > 0:
            raise ValueError(f'The temperature must be above 0, not {temperature}.')
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

        The activations of the label loss are 'softmax', 'sigmoid', both or neither;
        ``where`` is the setting that decides them, for the error.
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
