"""Training of a network by a scheme, independent of its outputs and losses.

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
from .checks import check_overrides, check_rates, find_scheme_sites
from .extras import Extras
from .iteration import Iteration, get_rank

_logger = logging.getLogger('mmcosub')


class SubmodelTraining:
    """Mixin that runs a model's backbone as the submodels of a scheme.

    It adds no parameter, buffer or submodule to checkpoints, so that they keep the keys
    of the unmodified model. Call :meth:`init_co_training` last in ``__init__``.
    Subclasses compute the losses of some views in :meth:`pass_loss`.
    """

    scheme: Scheme
    training: bool
    backbone: torch.nn.Module
    """The network that has the branches."""
    plans_drawn: int
    """Number of plans drawn so far, on each rank."""
    telemetry: dict[str, Tensor]
    """Values of the last iteration's views, for CoTrainingLossHook to log."""
    sequential_views: list[int] | None
    """Views of the current pass in a step with sequential backward."""
    sequential_iteration: Iteration | None
    """Current iteration in a step with sequential backward."""

    def init_co_training(
        self, scheme: dict | Scheme, activations: set[str], where: str
    ) -> None:
        """Build the scheme and find the backbone's branches.

        Args:
            scheme (dict | Scheme): The scheme or its config.
            activations (set[str]): Functions by which the label loss turns logits into
                probabilities, see :func:`mmcosub.losses.activations`.
            where (str): Setting that decides them, for errors.

        Raises:
            ValueError: If the backbone has no known block, every rate is 0 or one is 1
                or more, the scheme does not fit the label loss, or it overrides a
                method that is never called.
        """
        self.scheme = scheme if isinstance(scheme, Scheme) else SCHEMES.build(scheme)
        self.scheme.soft_loss.fit(activations, where)
        self.sites = find_scheme_sites(self.scheme, self.backbone)
        if self.training:
            self._check_sites()
        modules = dict(self.scheme.prepare(self))
        check_overrides(self.scheme)
        for objective in self.scheme.objectives:
            modules.update(objective.prepare(self))
        self.extras = Extras(modules)
        self.plans_drawn = 0
        self.telemetry = {}
        self.sequential_views = self.sequential_iteration = None
        self._checked = False
        self._fastest_exact = FastestExact()
        self._shares_rows = True

    def caller(self) -> torch.nn.Module:
        """Return the module to call for the backbone's outputs, such as DDP's."""
        return self.backbone

    @property
    def plan_seed(self) -> int:
        """Seed of the plans: the scheme's, or else the run's."""
        if self.scheme.seed is None:
            self.scheme.seed = torch.initial_seed() % 2**63
        return self.scheme.seed

    # ---- one iteration -----------------------------------------------------------

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Return the label and distillation losses of all views.

        Args:
            inputs (Tensor): Images of shape (B, 3, height, width).
            data_samples (Any): Their labels, as :meth:`pass_loss` takes them.

        Returns:
            dict[str, Tensor]: The upstream losses, combined over views, and
            co-training losses. With sequential backward, those of one pass.
        """
        if self.sequential_views is None:
            iteration, passes = self._begin(inputs), self.scheme.passes
        else:
            if self.sequential_iteration is None:
                self.sequential_iteration = self._begin(inputs)
            iteration, passes = self.sequential_iteration, [self.sequential_views]
        losses: dict[str, Tensor] = {}
        for views in passes:
            terms = self.pass_loss(iteration, inputs, data_samples, views)
            iteration.end_pass()
            for key, value in terms.items():
                if key not in losses:
                    losses[key] = value
                elif 'loss' in key:  # accuracies stay those of the first pass
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
        """Return the weighted losses of some views.

        Args:
            iteration (Iteration): The iteration, with the logits of earlier passes.
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
        """Check the model at the first step, when hooks may have frozen parts of it."""
        if are_drop_paths(self.sites):
            self.sites = [*called_drop_paths(self.backbone, inputs)]
        if not self.training:
            return  # a loss in evaluation mode, where all views are the full network
        self._check_sites()
        self._checked = True
        execution = self.scheme.execution
        if self.scheme.check_network:
            check_network(self.backbone, inputs, self.sites, self.execution_of_plans())
            self._check_sharing(inputs)
        reason = (
            None
            if execution == 'auto'
            else inexact(self.backbone, execution, self.sites)
        )
        if reason:
            _logger.warning(
                f'scheme.execution={execution!r} does not compute what the plain '
                f"execution does: {reason}. scheme.execution='auto' uses the fastest "
                'exact one.'
            )

    def _check_sites(self) -> None:
        check_rates(self.scheme, self.sites)  # first, as schemes may override `check`
        self.scheme.check(self.sites)

    # Not compiled: rows differ in every iteration, so it would be compiled each time.
    @torch.compiler.disable
    def run_backbone(
        self, iteration: Iteration, inputs: Tensor, views: list[int]
    ) -> tuple[Any, list[Any]]:
        """Run the backbone as the submodels of some views.

        Args:
            iteration (Iteration): The iteration.
            inputs (Tensor): Images of shape (B, ...).
            views (list[int]): The V views.

        Returns:
            tuple: Outputs of the backbone, and of the blocks that objectives tap, with
            V * B rows each, views outermost; the computed rows alone where some images
            have one view (:class:`PairedRows`).
        """
        settings: dict[str, Any] = {}
        if len(views) == 1:
            inputs, settings['perturbed'] = self.scheme.disturb(
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
        """Return the execution of plans, the fastest exact one for 'auto'."""
        if self.scheme.execution != 'auto':
            return self.scheme.execution
        fastest = self._fastest_exact(self.backbone, self.sites)
        shares = fastest == 'shared_prefix'
        return 'kept_rows' if shares and not self._shares_rows else fastest

    def _check_sharing(self, inputs: Tensor) -> None:
        """Test if views can share rows in this network, and act on the result."""
        if self.execution_of_plans() != 'shared_prefix':
            return
        if can_share_rows(self.backbone, inputs, self.sites):
            return
        name = type(self.backbone).__name__
        if self.scheme.execution != 'auto':
            raise ValueError(
                f'Views cannot share rows in {name}, which needs a constant number of '
                "rows. Set scheme.execution='kept_rows', or leave it out."
            )
        self._shares_rows = False
        _logger.warning(
            f'{name} needs a constant number of rows, so views share none '
            "(execution='kept_rows')."
        )
