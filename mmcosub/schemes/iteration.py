"""State of one iteration of co-training: its plan, and the logits of its passes.

Shapes: ``V`` views, ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmcosub.losses import weighted_mean
from mmcosub.submodels import Plan, plan_generator

from .base import Scheme
from .paired_rows import PairedRows


def count_processes() -> int:
    """Return the number of processes of the training."""
    distributed = torch.distributed
    started = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if started else 1


def get_rank() -> int:
    """Return the rank of this process, 0 without distributed training."""
    return torch.distributed.get_rank() if count_processes() > 1 else 0


class Iteration:
    """Plan of one iteration, and the logits that its passes leave for later passes.

    Args:
        scheme (Scheme): The scheme.
        plan (Plan): Branches that each view of each image keeps.
        seed (int): Seed of the run's plans.
        step (int): Number of plans drawn before this one.
        device (torch.device | str): Device of the images. Defaults to 'cpu'.
    """

    def __init__(
        self,
        scheme: Scheme,
        plan: Plan,
        seed: int,
        step: int,
        device: torch.device | str = 'cpu',
    ) -> None:
        self.scheme = scheme
        self.plan = plan
        self.rows = PairedRows(plan, device)
        self.seed = seed
        self.step = step
        self.telemetry: dict[str, Tensor] = {}
        """Values of the views, for CoTrainingLossHook to log."""
        self.labelled: dict[tuple, Tensor] = {}
        """Labelled fraction of each pixel, by ignored label and resolution."""
        self._logits: dict[str, list[Tensor | None]] = {}

    def generator(self, views: list[int]) -> np.random.Generator:
        """Return a random generator for one pass, independent of the plan's.

        Args:
            views (list[int]): The views of the pass.
        """
        return plan_generator(self.seed, self.step, get_rank(), 1 + views[0])

    def teach(
        self,
        head: str,
        views: list[int],
        logits: Sequence[Tensor],
        weight: Tensor | None = None,
    ) -> Tensor:
        """Return the co-training loss of some views at one head.

        Images that have one view only are left out, and the others count for them.

        Args:
            head (str): Name of the head.
            views (list[int]): The views. Their teachers are among them or ran before.
            logits (Sequence[Tensor]): Their logits, of shape (B, C, *) each.
            weight (Tensor, optional): Weight of each position, of shape (B, *).
        """
        total = self.scheme.views
        factor = self.rows.fraction(weight) / self.scheme.paired
        logits, weight = [self.rows.pairs(z) for z in logits], self.rows.pairs(weight)
        seen = self._logits.setdefault(head, [None] * total)
        for v, z in zip(views, logits, strict=True):
            seen[v] = z
        if not len(logits[0]):
            return logits[0].new_zeros((), dtype=torch.float32)
        known: Any = seen  # None only for views that are not needed
        if len(views) == total:
            return factor * self.scheme.co_training_loss(known, weight)
        losses = [self.scheme.student_loss(v, known, weight) for v in views]
        return factor * torch.stack(losses).sum()

    def end_pass(self) -> None:
        """Detach stored logits so that finished passes free their graphs."""
        for logits in self._logits.values():
            logits[:] = [z if z is None else z.detach() for z in logits]

    def add(self, name: str, value: Tensor) -> None:
        """Add to a logged value.

        Args:
            name (str): Its name.
            value (Tensor): The pass's contribution, a number.
        """
        before = self.telemetry.get(name)
        value = value.detach()
        self.telemetry[name] = value if before is None else before + value

    @torch.no_grad()
    def note_agreement(
        self, head: str, weight: Tensor | None = None, threshold: float = 0.5
    ) -> None:
        """Log the fraction of positions where other views agree with the first.

        Does nothing until all views have run.

        Args:
            head (str): Name of the head.
            weight (Tensor, optional): Weight of each position, of shape (B, *).
            threshold (float): Probability above which a head with one channel predicts
                its class. Defaults to 0.5.
        """
        seen = [z for z in self._logits[head] if z is not None]
        if len(seen) < max(self.scheme.views, 2) or not len(seen[0]):
            return
        weight = self.rows.pairs(weight)
        classes = [predicted(z, threshold) for z in seen]
        same = [(c == classes[0]).float() for c in classes[1:]]
        agreement = torch.stack([weighted_mean(s, weight) for s in same]).mean()
        self.telemetry['agreement'] = agreement


def predicted(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Return the predicted classes, of shape (B, *).

    Args:
        logits (Tensor): Of shape (B, C, *).
        threshold (float): Probability above which a head with one channel predicts its
            class. Defaults to 0.5.
    """
    if logits.shape[1] == 1:
        return logits.squeeze(1).sigmoid() > threshold
    return logits.argmax(dim=1)
