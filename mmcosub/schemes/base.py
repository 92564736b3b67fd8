"""Base class of co-training schemes.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``*`` positions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.losses import weighted_mean
from mmcosub.submodels import EXECUTIONS, SAMPLERS, Plan, Sampler, Site, spread_rates
from mmcosub.submodels.class_table import ClassTable

from .checks import check_views_differ
from .distillation import SoftLoss, Teaching, require
from .extras import Objective

Context = Callable[[], AbstractContextManager]

SCHEMES = ClassTable('scheme')


class Scheme(ABC):
    """Views of a training, their label losses and the distillation between them.

    A scheme is a description. The model draws a plan from it, runs the views and adds
    up the losses. Subclasses define :attr:`label_weights` and :attr:`teachings`.

    Args:
        loss (str): Distillation loss between views: 'ce' (softmax), 'kl' (same
            gradients, 0 where the views agree), 'bce' (sigmoid), or 'auto' to choose by
            the model's label loss. Defaults to 'auto'.
        temperature (float): Temperature of the distillation loss. Defaults to 1.
        drop_path_rate (float, optional): Drop-path rate in [0, 1) of the submodels.
            Defaults to None, the backbone's own rates.
        drop_path_decay (str): Course of ``drop_path_rate`` over depth: 'constant', or
            'linear' from 0. Does not apply to the backbone's own rates. Defaults to
            'constant'.
        sampler (dict | str | Sampler, optional): Sampler of the views, or its name.
            Defaults to None, ``'BernoulliSampler'``, the distribution of DropPath.
        execution (str): 'auto' for the fastest that is exact, or one of 'plain',
            'kept_rows', 'shared_prefix' and 'drop_path'. Defaults to 'auto'.
        auxiliary (bool): If True, auxiliary heads (and all but the last of a cascade)
            co-train too, weighted by their own loss weight. Defaults to False.
        lean (bool): Sequential backward: if True, each pass runs backward before the
            next one starts, which needs the memory of one pass and gives the same
            gradients. For schemes whose views run one after another. Defaults to False.
        seed (int, optional): Seed of the plans. Defaults to None, the run's.
        check_network (bool): If True, one image runs before the first step to check
            that a submodel of all branches equals the network. Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, with the valid ones.
    """

    joint = True
    """If True, all views run in one pass, as one batch; else one after another."""

    changes_statistics = False
    """If True, BatchNorm statistics are estimated again before validation."""

    paired = 1.0
    """Mean fraction of images whose views are computed one by one."""

    softmax_loss = 'ce'
    """Distillation loss that 'auto' chooses for a softmax label loss."""

    def __init__(
        self,
        loss: str = 'auto',
        temperature: float = 1.0,
        drop_path_rate: float | None = None,
        drop_path_decay: str = 'constant',
        sampler: dict | str | Sampler | None = None,
        execution: str = 'auto',
        auxiliary: bool = False,
        lean: bool = False,
        seed: int | None = None,
        check_network: bool = True,
    ) -> None:
        if lean and self.joint:
            raise ValueError(
                f'The views of {type(self).__name__} run together, so lean=True cannot '
                'take them one after another. Leave it out.'
            )
        valid = ['auto', *EXECUTIONS]
        require('execution', execution, execution in valid, f'one of {valid}')
        spread_rates(drop_path_rate or 0.0, [0], drop_path_decay)  # raises if invalid
        self.soft_loss = SoftLoss(loss, temperature, self.softmax_loss)
        self.drop_path_rate = drop_path_rate
        self.drop_path_decay = drop_path_decay
        self.sampler = SAMPLERS.build(sampler or 'BernoulliSampler')
        self.execution = execution
        self.auxiliary = auxiliary
        self.lean = lean
        self.seed = seed
        self.check_network = check_network
        self.in_use = False
        self.ramp = 1.0
        """Factor in [0, 1] of the co-training weight, set by CoTrainingLossHook."""

    @property
    @abstractmethod
    def label_weights(self) -> Sequence[float]:
        """Weight of the label loss of each view, of length V; 0 to see no label."""

    @property
    @abstractmethod
    def teachings(self) -> Sequence[Teaching]:
        """Distillation terms between views."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """Additional objectives, none by default."""
        return ()

    @property
    def views(self) -> int:
        """Number of views V."""
        return len(self.label_weights)

    @property
    def passes(self) -> list[list[int]]:
        """Views that run together, in the order in which they run.

        A teacher runs before its students, or with them.
        """
        views = list(range(self.views))
        return [views] if self.joint else [[v] for v in views]

    def rates(self, sites: Sequence[Site], view: int = 0) -> NDArray[np.float64]:
        """Return the drop-path rates of a view, of shape (L, ).

        By default, all views have the same. A block in evaluation mode has 0.
        """
        if self.drop_path_rate is None:
            rates = np.array([site.rate for site in sites])
        else:
            depths = [site.depth for site in sites]
            rates = spread_rates(self.drop_path_rate, depths, self.drop_path_decay)
        return rates * [site.block.training for site in sites]

    def draw(self, sites: Sequence[Site], batch: int, rng: np.random.Generator) -> Plan:
        """Draw one step's submodels, for a backbone's branches and B samples."""
        rates = [self.rates(sites, view) for view in range(self.views)]
        keep = [self.sampler(of_view, batch, rng) for of_view in rates]
        return Plan.from_keep(np.stack(keep, axis=1), np.stack(rates, axis=1))

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        """Perturb the images and the backbone of a view that runs alone.

        ``rng`` is to be used here, not later.

        Returns:
            tuple: The view's images, of shape (B, 3, height, width), and a function
            that returns a context to run its backbone in. The context undoes its
            changes on leaving. It is entered again when the backward pass recomputes
            activations.
        """
        return images, nullcontext

    def student_loss(
        self, student: int, logits: Sequence[Tensor], weight: Tensor | None = None
    ) -> Tensor:
        """Return the weighted sum of the distillation losses of one student view.

        Override it where :attr:`teachings` cannot express the loss.

        Args:
            student (int): The view.
            logits (Sequence[Tensor]): Logits of each view, of shape (B, C, *); None for
                views that run later.
            weight (Tensor, optional): Weight of each position, of shape (B, *).
                Defaults to None, all alike.
        """
        total = logits[student].new_zeros(())
        for t in self.teachings:
            if t.student == student:
                loss = self.soft_loss(logits[student], t.target(logits))
                total = total + t.weight * weighted_mean(loss, weight)
        return total

    # ---- before training ---------------------------------------------------------

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Inspect the model before training, and return modules to add to it.

        They are later ``model.extras[name]``, trained and resumed with the model, but
        not part of its checkpoint. Raises a ``ValueError`` if the scheme cannot train
        such a model.
        """
        return {}

    @property
    def distills(self) -> bool:
        """True if a view learns from another one."""
        return any(teaching.weight for teaching in self.teachings)

    def check(self, sites: Sequence[Site]) -> None:
        """Raise if the scheme would have no effect with a backbone in training mode.

        Raises:
            ValueError: If every drop-path rate is 0 and there is distillation between
                views.
        """
        check_views_differ(self, sites)
