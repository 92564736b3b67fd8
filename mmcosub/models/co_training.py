"""What all co-training models share.

Shapes: ``V`` views, ``B`` samples, ``*`` positions.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.dist import get_rank
from mmengine.optim import OptimWrapper
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

from .extras import Extras
from .lean import lean_step


class CoTraining:
    """Mixin that runs a model's backbone as the submodels of a scheme.

    It adds no parameter, buffer or submodule to checkpoints, so that they are the stock
    model's. To be called last in ``__init__``: :meth:`init_co_training`. A subclass
    says in :meth:`pass_loss` what the losses of some views are.
    """

    scheme: Scheme
    backbone: torch.nn.Module
    plans_drawn: int
    """Number of plans drawn so far, on each rank."""
    tapped: list[Tensor]
    """Outputs of the scheme's taps in the last pass."""
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
        self.extras = Extras(self.scheme.prepare(self))
        self.plans_drawn = 0
        self.telemetry = {}
        self.only_views: list[int] | None = None

    @property
    def plan_seed(self) -> int:
        """Seed of the plans: the scheme's, or else the run's."""
        if self.scheme.seed is None:
            self.scheme.seed = torch.initial_seed() % 2**63
        return self.scheme.seed

    # ---- one iteration -----------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Losses of all views and of what they teach each other.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list): Their labels.

        Returns:
            dict[str, Tensor]: The stock model's losses, combined over views, and
            co-training losses. Of some views only, in a lean pass.
        """
        if self.only_views is None or self.only_views == self.scheme.passes[0]:
            self._begin(len(inputs))
        if self.only_views is not None:
            return self._one_pass(inputs, data_samples, self.only_views)
        losses: dict[str, Tensor] = {}
        for views in self.scheme.passes:
            for key, value in self._one_pass(inputs, data_samples, views).items():
                if key not in losses:
                    losses[key] = value
                elif 'loss' in key:  # accuracies are the first views'
                    losses[key] = losses[key] + value
        return losses

    def pass_loss(
        self, inputs: Tensor, data_samples: list, views: list[int]
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list): Their labels.
            views (list[int]): The views. Those of earlier passes have run.
        """
        raise NotImplementedError

    def _begin(self, batch: int) -> None:
        self._step = self.plans_drawn
        self.plans_drawn += 1
        rng = plan_generator(self.plan_seed, self._step, get_rank())
        self._plan = self.scheme.draw(self.sites, batch, rng)
        self._logits: dict[str, list[Any]] = {}
        self.telemetry = {}

    def _one_pass(
        self, inputs: Tensor, data_samples: list, views: list[int]
    ) -> dict[str, Tensor]:
        losses = self.pass_loss(inputs, data_samples, views)
        for logits in self._logits.values():  # free what backward does not need
            logits[:] = [z if z is None else z.detach() for z in logits]
        return losses

    def run_backbone(self, inputs: Tensor, views: list[int]) -> Any:
        """Run the backbone as the submodels of some views.

        Args:
            inputs (Tensor): Images of shape (B, ...).
            views (list[int]): The views, V of them.

        Returns:
            The backbone's outputs with V * B rows, views outermost.
        """
        plan = self._plan.of(views)
        execution = self.scheme.execution
        rng = plan_generator(self.plan_seed + 1 + views[0], self._step, get_rank())
        alone = views[0] if len(views) == 1 else None
        with (
            nullcontext(inputs)
            if alone is None
            else self.scheme.disturb(self, alone, inputs, rng)
        ) as images:
            if execution == 'auto':
                execution = fastest_exact(self.backbone)
            taps = self.scheme.taps(self)
            features, work = run_submodels(
                self.backbone, images, plan, self.sites, execution, taps
            )
        features, self.tapped = features if taps else (features, [])
        share = torch.tensor(work * len(views) / self.scheme.views)
        self.telemetry['branch_work'] = self.telemetry.get('branch_work', 0) + share
        return features

    def teaching_loss(
        self,
        head: str,
        views: list[int],
        logits: Sequence[Tensor],
        weight: Tensor | None = None,
    ) -> Tensor:
        """Co-training loss of some views at one head.

        Args:
            head (str): Name of the head.
            views (list[int]): The views.
            logits (Sequence[Tensor]): Their logits, of shape (B, C, *) each.
            weight (Tensor, optional): Weight of each position, of shape (B, *).
        """
        total = self.scheme.views
        seen = self._logits.setdefault(head, [None] * total)
        for v, z in zip(views, logits, strict=True):
            seen[v] = z
        if len(views) == total:
            return self.scheme.co_training_loss(seen, weight)
        losses = [self.scheme.student_loss(v, seen, weight) for v in views]
        return torch.stack(losses).sum()

    def note(
        self, head: str, views: list[int], loss: Tensor, weight: Tensor | None = None
    ) -> None:
        """Note the co-training loss of the main head and how far views agree."""
        before = self.telemetry.get('co_training', 0)
        self.telemetry['co_training'] = before + loss.detach()
        if views[-1] == self.scheme.views - 1:
            self._note_agreement([z.detach() for z in self._logits[head]], weight)

    # ---- one optimizer step ------------------------------------------------------

    def train_step(
        self, data: Any, optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Forward, backward and step, pass by pass if the scheme is lean.

        Args:
            data (dict | tuple | list): A batch of the data loader.
            optim_wrapper (OptimWrapper): Updates the parameters.
        """
        if not self.scheme.lean:
            return super().train_step(data, optim_wrapper)  # type: ignore[misc]
        return lean_step(self, self, data, optim_wrapper)

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
    for key in losses[0] if losses else ():
        factors = weights if 'loss' in key else [1 / len(losses)] * len(losses)
        terms = [loss[key] for loss in losses]
        if isinstance(terms[0], list | tuple):
            terms = [sum(t.mean() for t in term) for term in terms]
        combined[key] = sum(w * t for w, t in zip(factors, terms, strict=True))
    return combined
