"""Training of a network by a scheme, independent of its outputs and losses.

Shapes: ``V`` views, ``B`` samples.
"""

import logging
from abc import abstractmethod
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmcosub.submodels import (
    EXECUTIONS,
    are_drop_paths,
    called_drop_paths,
    check_network,
    fastest_exact,
    inexact,
    is_exact,
    plan_generator,
    run_submodels,
)

from .base import SCHEMES, Context, Scheme
from .checks import check_overrides, check_sites, find_scheme_sites
from .extras import Extras
from .step import Step, get_rank

_logger = logging.getLogger('mmcosub')

_INEXACT = {
    'shared_prefix': 'Views cannot share rows in {}, which needs a constant number of '
    'rows, or runs its blocks in another order than it lists them, so views share none',
    'kept_rows': 'The blocks of {} compute something else on some of the rows, as with '
    'a normalisation over the batch, so every branch runs on all rows',
}
"""Reasons for which an execution is not exact in a network, and the consequences."""


class SubmodelTraining:
    """Mixin that runs a model's backbone as the submodels of a scheme.

    It adds no parameter, buffer or submodule to checkpoints, so that they keep the keys
    of the unmodified model. Call :meth:`init_co_training` last in ``__init__``.
    Subclasses run the heads and compute the losses of a pass in :meth:`pass_loss`.
    """

    scheme: Scheme
    training: bool
    backbone: nn.Module
    """The network that has the branches."""
    plans_drawn: int
    """Number of plans drawn so far, on each rank."""
    telemetry: dict[str, Tensor]
    """Values of the last step's views, for CoTrainingLossHook to log."""
    sequential_views: list[int] | None = None
    """Views of the pass to run, in a step with sequential backward."""
    sequential_step: Step | None = None
    """The step of that pass, once its plan is drawn."""

    def init_co_training(
        self, scheme: dict | Scheme, activations: set[str], where: str
    ) -> None:
        """Build the scheme and find the backbone's branches.

        ``activations`` and ``where`` are those of :meth:`SoftLoss.fit`. Raises if the
        scheme cannot train the model.
        """
        self.scheme = SCHEMES.build(scheme)
        if self.scheme.in_use:
            raise ValueError(
                f'This {type(self.scheme).__name__} is in use by another model, whose '
                'parts it keeps. Make one for each.'
            )
        self.scheme.soft_loss.fit(activations, where)
        self.sites = find_scheme_sites(self.scheme, self.backbone)
        if self.training:
            check_sites(self.scheme, self.sites)
        modules = dict(self.scheme.prepare(self))
        check_overrides(self.scheme)
        for objective in self.scheme.objectives:
            modules.update(objective.prepare(self))
        self.extras = Extras(modules)
        self.plans_drawn = 0
        self.telemetry = {}
        self._checked = False
        self._fastest = EXECUTIONS[-1]
        self.scheme.in_use = True  # last, as a model that is refused keeps nothing

    def caller(self) -> nn.Module:
        """Return the module to call for the backbone's outputs, such as DDP's."""
        return self.backbone

    def read(self, outputs: Any, auxiliary: bool = True) -> Any:
        """Return what the losses need of the backbone's outputs, nested tensors.

        Without ``auxiliary``, what the prediction needs.
        """
        return outputs

    @property
    def network(self) -> nn.Module:
        """The whole model, heads included."""
        model: Any = self
        return model

    @property
    def plan_seed(self) -> int:
        """Seed of the plans: the scheme's, or else the run's."""
        if self.scheme.seed is None:
            self.scheme.seed = torch.initial_seed() % 2**63
        return self.scheme.seed

    # ---- one step ----------------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Return the label and distillation losses of all views.

        With sequential backward, those of one pass.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (Any): Their labels, as :meth:`pass_loss` takes them.
        """
        step, passes = self.sequential_step or self._begin(inputs), self.scheme.passes
        if self.sequential_views is not None:
            self.sequential_step, passes = step, [self.sequential_views]
        losses: dict[str, Tensor] = {}
        for views in passes:
            step.views = views
            self._run_backbone(step, inputs)
            terms = self.pass_loss(step, data_samples)
            for objective in self.scheme.objectives:
                terms.update(objective.losses(step))
            step.end_pass()
            for key, value in terms.items():
                if key not in losses:
                    losses[key] = value
                elif 'loss' in key:  # accuracies stay those of the first pass
                    losses[key] = losses[key] + value
        return losses

    # Not compiled, as rows differ in every step: it would be compiled each time.
    # (torch.compiler.disable would import Dynamo with this module, for a second.)
    @torch._disable_dynamo
    def _begin(self, inputs: Tensor) -> Step:
        """Draw the plan of the next step."""
        if not self._checked:
            self._check_once(inputs)
        number = self.plans_drawn
        self.plans_drawn += 1
        rng = plan_generator(self.plan_seed, number, get_rank())
        plan = self.scheme.draw(self.sites, len(inputs), rng)
        step = Step(self, plan, number, inputs.device)
        self.telemetry = step.telemetry
        return step

    @torch._disable_dynamo
    def _run_backbone(self, step: Step, inputs: Tensor) -> None:
        """Run the submodels of a pass; keep outputs and tapped blocks in the step."""
        perturbed: Context = nullcontext
        if len(step.views) == 1:
            inputs, perturbed = self.scheme.disturb(
                self, step.views[0], inputs, step.generator()
            )
        taps = [tap for o in self.scheme.objectives for tap in o.taps(self)]
        plan, execution = step.plan.of(step.views), self.execution_of_plans()
        caller, sites, read = self.caller(), self.sites, self.read
        outputs, work = run_submodels(
            caller, inputs, plan, sites, execution, taps, perturbed, read
        )
        step.features, step.tapped = outputs if taps else (outputs, [])
        step.log('branch_work', work * len(step.views) / self.scheme.views)

    @abstractmethod
    def pass_loss(self, step: Step, data_samples: Any) -> dict[str, Tensor]:
        """Run the heads on ``step.features``, and return weighted losses.

        That is the upstream losses, combined over the views of the pass, and one
        co-training loss per co-trained head. Logits are recorded in the step.
        """

    def execution_of_plans(self) -> str:
        """Return the execution of plans, the fastest exact one for 'auto'."""
        if self.scheme.execution != 'auto':
            return self.scheme.execution
        fastest = fastest_exact(self.backbone, self.sites)
        return min(fastest, self._fastest, key=EXECUTIONS.index)

    def _check_once(self, inputs: Tensor) -> None:
        """Check the model at the first step, when hooks may have frozen parts of it."""
        if are_drop_paths(self.sites):
            self.sites = [*called_drop_paths(self.backbone, inputs)]
        if not self.training:
            return  # a loss in evaluation mode, where all views are the full network
        check_sites(self.scheme, self.sites)
        given = self.scheme.execution
        network = self.backbone, inputs, self.sites
        read = partial(self.read, auxiliary=False)
        while not is_exact(*network, self.execution_of_plans(), read):
            chosen = self.execution_of_plans()
            self._fastest = EXECUTIONS[EXECUTIONS.index(chosen) - 1]
            reason = _INEXACT[chosen].format(type(self.backbone).__name__)
            remedy = f'scheme.execution={self._fastest!r}'
            if given == chosen:
                raise ValueError(f'{reason}. Set {remedy}, or leave it out.')
            _logger.warning(f'{reason} ({remedy}).')
        if self.scheme.check_network:
            check_network(*network, self.execution_of_plans(), read)
        if given != 'auto' and (why := inexact(self.backbone, given, self.sites)):
            _logger.warning(
                f'scheme.execution={given!r} does not compute what the plain execution '
                f"does: {why}. scheme.execution='auto' uses the fastest exact one."
            )
        self._checked = True  # last: a check that was interrupted starts anew
