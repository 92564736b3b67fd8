"""Distillation term: a teacher view and a student view.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


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
        """Return the target logits.

        Args:
            logits (Sequence[Tensor]): Logits of each view, of shape (B, C, *).
        """
        if isinstance(self.teacher, int):
            return logits[self.teacher].detach()
        parts = [weight * logits[v].detach() for v, weight in self.teacher.items()]
        return torch.stack(parts).sum(dim=0)
