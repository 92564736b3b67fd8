"""Training of a network by a scheme, whatever its outputs and losses.

Shapes: ``V`` views, ``B`` samples, ``*`` positions.
"""

import logging
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from mmcosub.submodels import (
    FastestExact,
    Plan,
    are_drop_paths,
    called_drop_paths,
    can_share_rows,
    check_network,
    inexact,
    plan_generator,
    run_submodels,
)

from .base import SCHEMES, Scheme
from .extras import Extras
from .iteration import Iteration, get_rank
from .refusals import find_scheme_sites, refuse_rates, refuse_unasked

_logger = logging.getLogger('mmcosub')


class SubmodelTraining:
    """Mixin that runs a model's backbone as the submodels of a scheme.

    It adds no parameter, buffer or submodule to checkpoints, so that they are the stock
    model's. To be called last in ``__init__``: :meth:`init_co_training`. A subclass
    says in :meth:`pass_loss` what the losses of some views are.
    """

    scheme: Scheme
    training: bool
    backbone: torch.nn.Module
    """The network that has the branches."""
    plans_drawn: int
    """Number of plans drawn so far, on each rank."""
    telemetry: dict[str, Tensor]
    """What the last iteration's views did, for CoTrainingLossHook to log."""
    lean_views: list[int] | None
    """The views that a lean step is at."""
    lean_iteration: Iteration | None
    """The iteration that a lean step is at."""

    def init_co_training(
        self, scheme: dict | Scheme, activations: set[str], where: str
    ) -> None:
        """Build the scheme and find the backbone's branches.

        Args:
            scheme (dict | Scheme): The scheme or its config.
            activations (set[str]): By what the label loss turns logits into
                probabilities, see :func:`mmcosub.losses.activations`.
            where (str): Setting that says so.

        Raises:
            ValueError: If the backbone has no known block, every rate is 0 or one is 1
                or more, the scheme does not go with the label loss, or part of it would
                never be asked for.
        """
        self.scheme = scheme if isinstance(scheme, Scheme) else SCHEMES.build(scheme)
        self.scheme.soft_loss.fit(activations, where)
        self.sites = find_scheme_sites(self.scheme, self.backbone)
        if self.training:
            self._check_sites()
        modules = dict(self.scheme.prepare(self))
        refuse_unasked(self.scheme)
        for objective in self.scheme.objectives:
            modules.update(objective.prepare(self))
        self.extras = Extras(modules)
        self.plans_drawn = 0
        self.telemetry = {}
        self.lean_views = self.lean_iteration = None
        self._checked = False
        self._fastest_exact = FastestExact()
        self._shares_rows = True

    def caller(self) -> torch.nn.Module:
        """Module to call for the backbone's outputs, such as a DDP around it."""
        return self.backbone

    @property
    def plan_seed(self) -> int:
        """Seed of the plans: the scheme's, or else the run's."""
        if self.scheme.seed is None:
            self.scheme.seed = torch.initial_seed() % 2**63
        return self.scheme.seed

    # ---- one iteration -----------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Losses of all views and of what they teach each other.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (Any): Their labels, as :meth:`pass_loss` takes them.

        Returns:
            dict[str, Tensor]: The stock model's losses, combined over views, and
            co-training losses. Of some views only, in a lean step.
        """
        if self.lean_views is None:
            iteration, passes = self._begin(inputs), self.scheme.passes
        else:
            if self.lean_iteration is None:
                self.lean_iteration = self._begin(inputs)
            iteration, passes = self.lean_iteration, [self.lean_views]
        losses: dict[str, Tensor] = {}
        for views in passes:
            terms = self.pass_loss(iteration, inputs, data_samples, views)
            iteration.end_pass()
            for key, value in terms.items():
                if key not in losses:
                    losses[key] = value
                elif 'loss' in key:  # accuracies are the first views'
                    losses[key] = losses[key] + value
        return losses

    @abstractmethod
    def pass_loss(
        self,
        iteration: Iteration,
        inputs: Tensor,
        data_samples: list,
        views: list[int],
    ) -> dict[str, Tensor]:
        """Losses of some views, weighted.

        Args:
            iteration (Iteration): The iteration; views of earlier passes have run.
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (list): Their labels.
            views (list[int]): The views.
        """

    @torch.compiler.disable
    def _begin(self, inputs: Tensor) -> Iteration:
        """Draw the plan of the next iteration."""
        if not self._checked:
            self._check_once(inputs)
        step = self.plans_drawn
        self.plans_drawn += 1
        rng = plan_generator(self.plan_seed, step, get_rank())
        plan = self.scheme.draw(self.sites, len(inputs), rng)
        iteration = Iteration(self.scheme, plan, self.plan_seed, step, inputs.device)
        self.telemetry = iteration.telemetry
        return iteration

    def _check_once(self, inputs: Tensor) -> None:
        """Check the model as it trains; hooks may have frozen parts of it since."""
        if are_drop_paths(self.sites):
            self.sites = [*called_drop_paths(self.backbone, inputs)]
        if not self.training:
            return  # the loss of a validation, in which all views are the network
        self._check_sites()
        self._checked = True
        execution = self.scheme.execution
        if self.scheme.check_network:
            check_network(self.backbone, inputs, self.sites, self.execution_of_plans())
            self._check_sharing(inputs)
        reason = None if execution == 'auto' else inexact(self.backbone, execution)
        if reason:
            _logger.warning(
                f'scheme.execution={execution!r} does not compute what the plain '
                f'execution does: {reason}. It was asked for by name, so it runs; '
                "'auto' takes the fastest exact one."
            )

    def _check_sites(self) -> None:
        refuse_rates(self.scheme, self.sites)  # whatever a scheme's own check is
        self.scheme.check(self.sites)

    # Every iteration has its own rows: compiled, it would be compiled again each time.
    @torch.compiler.disable
    def run_backbone(
        self, iteration: Iteration, inputs: Tensor, views: list[int]
    ) -> tuple[Any, list[Any]]:
        """Run the backbone as the submodels of some views.

        Args:
            iteration (Iteration): The iteration.
            inputs (Tensor): Images of shape (B, ...).
            views (list[int]): The views, V of them.

        Returns:
            tuple: The backbone's outputs, and those of the blocks that objectives tap,
            with V * B rows each, views outermost; only the computed ones where some
            images have one view (:class:`PairedRows`).
        """
        settings: dict[str, Any] = {}
        if len(views) == 1:
            inputs, settings['disturbed'] = self.scheme.disturb(
                self, views[0], inputs, iteration.generator(views)
            )
        execution = self.execution_of_plans()
        taps = [tap for o in self.scheme.objectives for tap in o.taps(self)]
        plan = iteration.plan.of(views)

        def forward(x: Tensor, plan: Plan) -> tuple[Any, float]:
            caller = self.caller()
            return run_submodels(
                caller, x, plan, self.sites, execution, taps, **settings
            )

        shared = execution == 'shared_prefix'
        features, work = iteration.rows.run(forward, inputs, plan, shared)
        share = work * len(views) / self.scheme.views
        iteration.add('branch_work', torch.tensor(share))
        return features if taps else (features, [])

    def execution_of_plans(self) -> str:
        """The execution to run plans by, the fastest exact one for 'auto'."""
        if self.scheme.execution != 'auto':
            return self.scheme.execution
        fastest = self._fastest_exact(self.backbone, self.sites)
        shares = fastest == 'shared_prefix'
        return 'kept_rows' if shares and not self._shares_rows else fastest

    def _check_sharing(self, inputs: Tensor) -> None:
        """Find out whether views can share rows in this very network."""
        if self.execution_of_plans() != 'shared_prefix':
            return
        if can_share_rows(self.backbone, inputs, self.sites):
            return
        name = type(self.backbone).__name__
        if self.scheme.execution != 'auto':
            raise ValueError(
                f'Views cannot share rows in {name}, which counts on as many rows as '
                "images. Set scheme.execution='kept_rows', or leave it out."
            )
        self._shares_rows = False
        _logger.warning(
            f'{name} counts on as many rows as images, so views share none '
            "(execution='kept_rows')."
        )
