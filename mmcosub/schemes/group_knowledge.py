"""Distillation from larger to smaller subnets of the first blocks of each stage.

Shapes: ``L`` branches, ``S`` stages, ``B`` samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.submodels import Plan, Site
from mmcosub.submodels.sampling import (
    Depths,
    draw_depths,
    draw_nested,
    keep_first_blocks,
    stage_depths,
)

from .base import SCHEMES, Scheme
from .distillation import Teaching, require

FULL = 0


class DepthScheme(Scheme):
    """Base class of schemes whose views are subnets of the first blocks of each stage.

    View 0 is the full network and sees the label. Subnets are drawn once per batch and
    are not rescaled. The network's own DropPath stays on, with one draw per image for
    all its views, so that a subnet is part of its teacher. (The papers' networks do not
    use DropPath.)

    If the model has a BatchNorm in training mode, views run one after another, each
    with its own statistics. Otherwise they run together, with the same results in less
    time, since a subnet shares the full network's rows up to its last block of a stage.
    With ``lean=True`` they run one after another in any case.

    Args:
        weight (float): Weight of each subnet's loss, 0 or more. Defaults to 1.
        **kwargs: Arguments of :class:`Scheme`. With a softmax label loss,
            ``loss='auto'`` is 'kl'.
    """

    joint = False
    changes_statistics = True
    softmax_loss = 'kl'

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require('weight', weight, weight >= 0, '0 or more')
        self.weight = weight

    def check(self, sites: Sequence[Site]) -> None:
        """Raise if a backbone has no subnet."""
        if (stage_depths(sites) == 1).all():
            raise ValueError(
                f'Every stage of the backbone has one block, so {type(self).__name__} '
                'has no subnet to draw. Use a deeper network.'
            )

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """See :class:`Scheme`. Views run together if there is no BatchNorm to train."""
        norms = (m for m in model.modules() if isinstance(m, _BatchNorm))
        # A model in evaluation mode, as loaded by many libraries, is yet to be set to
        # training.
        trained = any(norm.training or not model.training for norm in norms)
        self.joint = not self.lean and not trained
        return super().prepare(model)

    def draw_subnets(self, full: Depths, rng: np.random.Generator) -> list[Depths]:
        """Draw the depths of every view but the first.

        ``full`` is the number of blocks of every stage, of shape (S, ).
        """
        raise NotImplementedError

    def draw(self, sites: Sequence[Site], batch: int, rng: np.random.Generator) -> Plan:
        dropped = super().draw(sites, batch, rng).multipliers[:, :1]  # (L, 1, B)
        full = stage_depths(sites)
        depths = [full, *self.draw_subnets(full, rng)]
        keep = np.stack([keep_first_blocks(sites, d) for d in depths], axis=1)
        return Plan(dropped * keep[..., None])


@SCHEMES.register_module()
class Stimulative(DepthScheme):
    r"""Stimulative training: distillation from the full network to a random subnet.

    .. math:: CE(z_{main}, y) + \lambda\, KL(p_{main} \| p_{sub})

    From `Stimulative Training of Residual Networks
    <https://arxiv.org/abs/2210.04153>`_ and its public code: the number of blocks of
    each stage is uniform on 1 to all, :math:`\lambda = 1`, no temperature. BatchNorm
    statistics are estimated again before validation. Segmentation is not in the paper.

    Arguments are those of :class:`DepthScheme`; ``weight`` is :math:`\lambda`.
    """

    label_weights = (1.0, 0.0)

    @property
    def teachings(self) -> Sequence[Teaching]:
        return [Teaching(FULL, 1, self.weight * self.ramp)]

    def draw_subnets(self, full: Depths, rng: np.random.Generator) -> list[Depths]:
        return [draw_depths(full, rng)]


@SCHEMES.register_module('gkt')
class GroupKnowledge(DepthScheme):
    r"""Group knowledge: distillation down groups of nested subnets.

    In `Group Knowledge based Training of Residual Networks
    <https://arxiv.org/abs/2308.13772>`_, subnets are drawn inside one another, larger
    ones more often, in several loops that begin with the full network, and a moving
    average of each group's logits is the target of the next group. The paper gives no
    formula; this one and all constants are **our own**. With the full network's logits
    :math:`z_0`, :math:`K_0 = z_0`, and the logits :math:`z_g` of a loop's g-th subnet:

    .. math::
        \ell(z_0, y) + w \sum_{loops} \sum_{g=1}^G
            T^2\, KL(softmax(K_{g-1}/T) \| softmax(z_g/T)), \quad
        K_g \leftarrow (1 - m) K_g + m z_g

    Gradients flow through the :math:`z_g` only. In the first loop, :math:`K_g = z_g`.

    Args:
        groups (int): Number of groups G, and of subnets per loop. Defaults to 2.
        loops (int): Number of loops. Defaults to 2.
        weight (float): Weight w of each subnet's loss, 0 or more. Defaults to 1.
        momentum (float): Fraction m of the newest logits in a group's average, in
            (0, 1]. Defaults to 0.5.
        decay (float): Base of the decay of the number of blocks that a subnet loses,
            in (0, 1]. Defaults to 0.5.
        **kwargs: Arguments of :class:`DepthScheme`.

    Raises:
        ValueError: If an argument is out of its range, or there are more groups than
            blocks to remove.
    """

    def __init__(
        self,
        groups: int = 2,
        loops: int = 2,
        weight: float = 1.0,
        momentum: float = 0.5,
        decay: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight, **kwargs)
        require('groups', groups, groups >= 1, '1 or more')
        require('loops', loops, loops >= 1, '1 or more')
        require('momentum', momentum, 0 < momentum <= 1, 'in (0, 1]')
        require('decay', decay, 0 < decay <= 1, 'in (0, 1]')
        self.groups = groups
        self.loops = loops
        self.momentum = momentum
        self.decay = decay

    @property
    def label_weights(self) -> Sequence[float]:
        return [1.0] + [0.0] * (self.groups * self.loops)

    @property
    def teachings(self) -> Sequence[Teaching]:
        """See :class:`Scheme`: in each loop, from every group to the next."""
        weight = self.weight * self.ramp
        return [
            Teaching(self._knowledge(loop, g), loop * self.groups + g + 1, weight)
            for loop in range(self.loops)
            for g in range(self.groups)
        ]

    def _knowledge(self, loop: int, group: int) -> int | dict[int, float]:
        """Return the fraction of each view in a group's average, indices from 0."""
        if group == 0:
            return FULL
        # One update per loop; the first subnet starts the average without momentum.
        fractions = {group: (1 - self.momentum) ** loop}
        for later in range(1, loop + 1):
            remains = (1 - self.momentum) ** (loop - later)
            fractions[later * self.groups + group] = self.momentum * remains
        return fractions

    def check(self, sites: Sequence[Site]) -> None:
        super().check(sites)
        spare = int((stage_depths(sites) - 1).sum())
        if self.groups > spare:
            raise ValueError(
                f'scheme.groups={self.groups} nested subnets need as many blocks to '
                f'lose, and the backbone has {spare} (one of every stage stays). Set '
                f'scheme.groups to {spare} at most.'
            )

    def draw_subnets(self, full: Depths, rng: np.random.Generator) -> list[Depths]:
        subnets = []
        for _ in range(self.loops):
            inside = full
            for _ in range(self.groups):
                inside = draw_nested(inside, self.decay, rng)
                subnets.append(inside)
        return subnets
