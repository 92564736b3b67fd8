"""What all co-training models share.

Shapes: ``V`` views, ``B`` samples, ``*`` positions.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import get_rank
from torch import Tensor

from mmcosub.losses import weighted_mean
from mmcosub.registry import SCHEMES, build
from mmcosub.schemes import Scheme
from mmcosub.submodels import (
    fastest_exact,
    find_branches,
    plan_generator,
    run_submodels,
)


class CoTraining:
    """Mixin that runs a model's backbone as the submodels of a scheme.

    It adds no parameter, buffer or submodule, so that a checkpoint is the stock
    model's. To be called last in ``__init__``: :meth:`init_co_training`.
    """

    scheme: Scheme
    backbone: torch.nn.Module
    plans_drawn: int
    """Number of plans drawn so far, on each rank."""
    telemetry: dict[str, Tensor]
    """What the last iteration's views did, for CoTrainingLossHook to log."""

    def init_co_training(self, scheme: dict | Scheme) -> None:
        """Build the scheme and find the backbone's branches.

        Args:
            scheme (dict | Scheme): The scheme or its config.

        Raises:
            ValueError: If the backbone has no known block or every rate is 0.
        """
        self.scheme = scheme if isinstance(scheme, Scheme) else build(SCHEMES, scheme)
        self.sites = find_branches(self.backbone)
        self.scheme.check(self.sites)
        self.plans_drawn = 0
        self.telemetry = {}

    @property
    def plan_seed(self) -> int:
        """Seed of the plans: the scheme's, or else the run's."""
        if self.scheme.seed is None:
            self.scheme.seed = torch.initial_seed() % 2**63
        return self.scheme.seed

    def run_backbone(self, inputs: Tensor) -> Any:
        """Run the backbone as freshly drawn submodels.

        Args:
            inputs (Tensor): Images of shape (B, ...).

        Returns:
            The backbone's outputs with V * B rows, views outermost.
        """
        rng = plan_generator(self.plan_seed, self.plans_drawn, get_rank())
        self.plans_drawn += 1
        plan = self.scheme.draw(self.sites, len(inputs), rng)
        execution = self.scheme.execution
        if execution == 'auto':
            execution = fastest_exact(self.backbone)
        features, work = run_submodels(
            self.backbone, inputs, plan, self.sites, execution
        )
        self.telemetry = {'branch_work': torch.tensor(work)}
        return features

    @torch.no_grad()
    def _note_agreement(
        self, logits: Sequence[Tensor], weight: Tensor | None = None
    ) -> None:
        """Note the share of positions at which views predict the same class.

        Args:
            logits (Sequence[Tensor]): Logits of each view, of shape (B, C, *).
            weight (Tensor, optional): Weight of each position, of shape (B, *).
        """
        classes = [z.argmax(dim=1) for z in logits]
        same = [(c == classes[0]).float() for c in classes[1:]]
        if same:
            agreement = torch.stack([weighted_mean(s, weight) for s in same]).mean()
            self.telemetry['agreement'] = agreement


def split_views(outputs: Any, views: int) -> list[Any]:
    """Split outputs of V * B rows into one nested output a view.

    Args:
        outputs (Any): Tensor of shape (V * B, ...), or a list, tuple or dict of such.
        views (int): Number of views V.
    """
    leaves, spec = torch.utils._pytree.tree_flatten(outputs)
    chunks = [leaf.chunk(views) for leaf in leaves]
    return [
        torch.utils._pytree.tree_unflatten([chunk[v] for chunk in chunks], spec)
        for v in range(views)
    ]


def weighted_losses(
    losses: Sequence[dict[str, Any]], weights: Sequence[float]
) -> dict[str, Any]:
    """Combine the loss dicts of several views into one.

    Args:
        losses (Sequence[dict]): One a view, with the same keys. Keys without 'loss'
            (accuracies) are averaged.
        weights (Sequence[float]): Weight of each view's losses.
    """
    combined: dict[str, Any] = {}
    for key in losses[0]:
        factors = weights if 'loss' in key else [1 / len(losses)] * len(losses)
        terms = [loss[key] for loss in losses]
        if isinstance(terms[0], list | tuple):
            terms = [sum(t.mean() for t in term) for term in terms]
        combined[key] = sum(w * t for w, t in zip(factors, terms, strict=True))
    return combined
