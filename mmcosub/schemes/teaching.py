"""Who teaches whom.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Teaching:
    """One view's prediction as another's target.

    Args:
        teacher (int | Mapping[int, float]): View whose logits become the target, or the
            share of each of several views in it. No gradient flows there.
        student (int): View that learns.
        weight (float): Factor of the soft loss.
    """

    teacher: int | Mapping[int, float]
    student: int
    weight: float

    def target(self, logits: Sequence[Tensor]) -> Tensor:
        """The logits to learn from.

        Args:
            logits (Sequence[Tensor]): Logits of each view, of shape (B, C, *).
        """
        if isinstance(self.teacher, int):
            return logits[self.teacher].detach()
        parts = [share * logits[v].detach() for v, share in self.teacher.items()]
        return torch.stack(parts).sum(dim=0)
