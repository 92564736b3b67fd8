"""What a co-training scheme is.

Shapes: ``L`` branches, ``V`` views, ``B`` samples, ``*`` positions.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.losses import weighted_mean
from mmcosub.submodels import EXECUTIONS, SAMPLERS, Plan, Site, spread_rates
from mmcosub.submodels.class_table import ClassTable

from .objective import Objective
from .soft_loss import SoftLoss
from .teaching import Teaching

Context = Callable[[], AbstractContextManager]

SCHEMES = ClassTable('scheme')

_logger = logging.getLogger('mmcosub')


class Scheme(ABC):
    """Which views there are, who sees the label and who teaches whom.

    A scheme is a description. The model wrapper draws a plan from it, runs the views
    and adds up the losses. A subclass says what is its own in :attr:`label_weights`
    and :attr:`teachings`.

    Args:
        loss (str): Soft loss between views: 'ce' (softmax), 'kl' (the same less the
            teacher's entropy), 'bce' (sigmoid), or 'auto' for the one that goes with
            the model's label loss. Defaults to 'auto'.
        temperature (float): Temperature of the soft loss. Defaults to 1.
        drop_path_rate (float, optional): Drop-path rate in [0, 1) of the submodels.
            Defaults to None, the backbone's own rates.
        drop_path_decay (str): How ``drop_path_rate`` goes over depth, 'constant' or
            'linear' from 0. Not for the backbone's own. Defaults to 'constant'.
        sampler (dict | str, optional): Sampler of the views, or its name. Defaults to
            None, ``'BernoulliSampler'``, which is drop path's own distribution.
        execution (str): 'auto' for the fastest that is exact, or one of 'plain',
            'kept_rows', 'shared_prefix' and 'drop_path'. Defaults to 'auto'.
        auxiliary (bool): Whether auxiliary heads (and all but the last of a cascade)
            co-train too, weighted by their own loss weight. Defaults to False.
        lean (bool): Whether each pass is propagated backward before the next one runs,
            so that memory is that of one. The gradients are the same. Only for schemes
            whose views run one after another. Defaults to False.
        seed (int, optional): Seed of the plans. Defaults to None, the run's.
        check_network (bool): Whether one image is run before the first step, to check
            that a submodel of all branches is the network. Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, naming the valid ones.
    """

    joint = True
    """Whether all views run in one pass, as one batch, or one after another."""

    changes_statistics = False
    """Whether BatchNorm statistics are to be estimated anew before validation."""

    paired = 1.0
    """Mean fraction of images whose views are computed one by one."""

    softmax_loss = 'ce'
    """Soft loss that 'auto' takes where the label loss is of a softmax."""

    def __init__(
        self,
        loss: str = 'auto',
        temperature: float = 1.0,
        drop_path_rate: float | None = None,
        drop_path_decay: str = 'constant',
        sampler: dict | str | None = None,
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
        if execution not in ('auto', *EXECUTIONS):
            raise ValueError(
                f'Unknown execution {execution!r}. Valid ones: {["auto", *EXECUTIONS]}.'
            )
        if drop_path_rate is not None:
            spread_rates(drop_path_rate, [0], drop_path_decay)  # is it valid?
        self.soft_loss = SoftLoss(loss, temperature, self.softmax_loss)
        self.drop_path_rate = drop_path_rate
        self.drop_path_decay = drop_path_decay
        self.sampler = SAMPLERS.build(sampler or 'BernoulliSampler')
        self.execution = execution
        self.auxiliary = auxiliary
        self.lean = lean
        self.seed = seed
        self.check_network = check_network
        self.ramp = 1.0
        """Factor in [0, 1] of the co-training weight, set by CoTrainingLossHook."""

    @property
    @abstractmethod
    def label_weights(self) -> Sequence[float]:
        """Weight of the label loss of each view, of length V; 0 to see no label."""

    @property
    @abstractmethod
    def teachings(self) -> Sequence[Teaching]:
        """Who teaches whom."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """What is learned besides; nothing by default."""
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
        """Drop-path rates, of shape (L, ). A block in evaluation mode is not dropped.

        Args:
            sites (Sequence[Site]): The backbone's branches.
            view (int): The view; here all have the same. Defaults to 0.
        """
        if self.drop_path_rate is None:
            rates = np.array([site.rate for site in sites])
        else:
            depths = [site.depth for site in sites]
            rates = spread_rates(self.drop_path_rate, depths, self.drop_path_decay)
        return rates * [site.block.training for site in sites]

    def check(self, sites: Sequence[Site]) -> None:
        """Refuse a backbone under which the scheme would do nothing.

        Args:
            sites (Sequence[Site]): The backbone's branches, in training mode.

        Raises:
            ValueError: If every drop-path rate is 0 although views teach one another,
                or every block is frozen.
        """
        refuse_frozen(self, sites)
        taught = any(teaching.weight for teaching in self.teachings)
        if taught and not self.rates(sites).any():
            raise ValueError(
                f'Every drop-path rate is 0, so all views of {type(self).__name__} '
                'would be the same network and teach each other nothing. Set '
                'model.backbone.drop_path_rate or scheme.drop_path_rate, for instance '
                'with --cfg-options scheme.drop_path_rate=0.1, or with '
                'CoTrainer(model, drop_path_rate=0.1).'
            )
        never = {type(s.block) for s in sites if s.branch.drop_path is None}
        if self.drop_path_rate is None and never:
            _logger.warning(
                f'Some branches of {[c.__module__ for c in never]} have no drop path '
                'in the stock network and are always kept (the attention of '
                "mmseg's ViT). Set scheme.drop_path_rate to drop them too."
            )

    def draw(self, sites: Sequence[Site], batch: int, rng: np.random.Generator) -> Plan:
        """Draw one iteration's submodels.

        Args:
            sites (Sequence[Site]): The backbone's branches.
            batch (int): Number of samples B.
            rng (Generator): Source of all randomness.
        """
        plans = []
        for view in range(self.views):
            rates = self.rates(sites, view)
            keep = self.sampler(rates, batch, rng)[:, None]
            plans.append(Plan.from_keep(keep, rates).multipliers)
        return Plan(np.concatenate(plans, axis=1))

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Look at the model that is to be trained.

        Args:
            model (nn.Module): The segmentor or classifier, with its backbone.

        Returns:
            dict[str, Module]: Modules of the scheme's own, from then on
            ``model.extras[name]``. They are trained with the model and resumed with
            it, but are no part of its checkpoint.

        Raises:
            ValueError: If the scheme cannot train such a model.
        """
        return {}

    def disturb(
        self, model: Any, view: int, images: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Context]:
        """What a view that runs alone does besides dropping branches.

        Args:
            model (nn.Module): The model.
            view (int): The view.
            images (Tensor): Of shape (B, 3, height, width).
            rng (Generator): Source of all randomness; to be used here, not later.

        Returns:
            tuple: The images that the view sees, and a function that returns a context
            in which the backbone runs as this view. The context is entered again for
            what is recomputed during backward, and undoes its changes on leaving.
        """
        return images, nullcontext

    def co_training_loss(
        self, logits: Sequence[Tensor], weight: Tensor | None = None
    ) -> Tensor:
        """Weighted sum of the soft losses of all teachings.

        Args:
            logits (Sequence[Tensor]): Logits of each view, of shape (B, C, *).
            weight (Tensor, optional): Weight of each position, of shape (B, *).
                Defaults to None, all alike.
        """
        losses = [self.student_loss(v, logits, weight) for v in range(self.views)]
        return torch.stack(losses).sum()

    def student_loss(
        self, student: int, logits: Sequence[Tensor], weight: Tensor | None = None
    ) -> Tensor:
        """Weighted sum of the soft losses of what one view is taught.

        Args:
            student (int): The view.
            logits (Sequence[Tensor]): Logits of each view up to it, of shape (B, C, *).
            weight (Tensor, optional): Weight of each position, of shape (B, *).
                Defaults to None, all alike.
        """
        total = logits[student].new_zeros(())
        for t in self.teachings:
            if t.student == student:
                loss = self.soft_loss(logits[student], t.target(logits))
                total = total + t.weight * weighted_mean(loss, weight)
        return total


def refuse_frozen(scheme: Scheme, sites: Sequence[Site]) -> None:
    """Refuse a backbone of which no block is in training mode.

    Args:
        scheme (Scheme): The scheme.
        sites (Sequence[Site]): The backbone's branches.

    Raises:
        ValueError: If every block is in evaluation mode.
    """
    if not any(site.block.training for site in sites):
        raise ValueError(
            'Every block of the backbone is frozen (in evaluation mode), where no '
            f'branch is dropped, so {type(scheme).__name__} has no submodels. Lower '
            'model.backbone.frozen_stages, or train without a scheme.'
        )
