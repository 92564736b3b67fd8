"""Cosub, and stochastic depth, which is cosub without a second view.

Shapes: ``L`` branches, ``V`` views, ``B`` samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmcosub.submodels import Plan, Site

from .base import SCHEMES, Scheme
from .distillation import Teaching, require


@SCHEMES.register_module()
class Cosub(Scheme):
    r"""Submodel co-training.

    Two submodels of one network run on every image. Each learns from the label and from
    the other's prediction. With logits :math:`z_1, z_2` and the weight :math:`w`:

    .. math::
        \frac12 \sum_i [(1 - w)\,\ell(z_i, y) + w\,\ell_{soft}(z_i, z_{3-i})]

    From `Co-training 2^L Submodels for Visual Recognition
    <https://arxiv.org/abs/2212.04884>`_, whose code has :math:`w = 0.5`, the binary
    cross-entropy and no temperature. Segmentation is not in the paper: the decode
    head's label loss, and distillation at every labelled pixel.

    Pairing a fraction :math:`p` of the images (``paired``) is **our extension**. A step
    has two views of :math:`n` of its :math:`B` images, drawn uniformly, and one of the
    others, which is either view's submodel with probability 1/2. :math:`n` is
    :math:`pB`, rounded up or down at random so that its mean is exact. With
    :math:`z_b` the logits of an image with one view and :math:`P` the paired images:

    .. math::
        \frac{1 - w}{B} [\sum_{b \notin P} \ell(z_b, y_b) + \sum_{b \in P}
        \tfrac12 \sum_i \ell(z_{b,i}, y_b)] + \frac{w}{pB} \sum_{b \in P}
        \tfrac12 \sum_i \ell_{soft}(z_{b,i}, z_{b,3-i})

    Each image is paired with probability :math:`p`, so loss and gradient have cosub's
    mean, except where images see each other, as in BatchNorm in training mode.

    Args:
        weight (float): w in (1 - w) * CE(label) + w * CE(other submodel), in [0, 1).
            Defaults to 0.5, as in the paper. The distillation loss follows the
            ``loss_weight`` and the average of the label loss.
        paired (float): Mean fraction in (0, 1] of the images of a batch that have two
            views in an iteration; the others have one. Defaults to 1, all.
        **kwargs: Arguments of :class:`Scheme`.

    Raises:
        ValueError: If ``weight`` is not in [0, 1), or ``paired`` not in (0, 1].
    """

    def __init__(self, weight: float = 0.5, paired: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require('weight', weight, 0 <= weight < 1, 'in [0, 1)')
        require('paired', paired, 0 < paired <= 1, 'in (0, 1]')
        self.weight = weight
        self.paired = paired

    @property
    def label_weights(self) -> Sequence[float]:
        return [(1 - self.weight * self.ramp) / 2] * 2

    @property
    def teachings(self) -> Sequence[Teaching]:
        weight = self.weight * self.ramp / 2
        return [Teaching(0, 1, weight), Teaching(1, 0, weight)]

    def draw(self, sites: Sequence[Site], batch: int, rng: np.random.Generator) -> Plan:
        plan = super().draw(sites, batch, rng)
        if self.paired == 1:
            return plan
        number = np.floor(self.paired * batch + rng.random())
        paired = rng.permutation(batch) < number
        factors = plan.multipliers  # (L, V, B)
        chosen = factors[:, rng.integers(2, size=batch), np.arange(batch)]
        return Plan(np.where(paired, factors, chosen[:, None]), paired)


@SCHEMES.register_module()
class StochasticDepth(Scheme):
    """Scheme with one view: ordinary training with stochastic depth, but faster.

    It computes the same as the unmodified model with DropPath, but only on the rows
    that keep a branch. `Deep Networks with Stochastic Depth
    <https://arxiv.org/abs/1603.09382>`_.

    Arguments are those of :class:`Scheme`.
    """

    label_weights = (1.0,)
    teachings = ()
