"""Consistency of submodels on images without labels.

Shapes: ``L`` branches, ``V`` students, ``U`` unlabelled images, ``C`` classes, ``*``
positions: none for an image's class, (H, W) for a label map.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mmcosub.losses import weighted_mean
from mmcosub.submodels import BernoulliSampler, Plan, Site

from .cutmix import CutMix
from .distillation import SoftLoss
from .step import predicted

STUDENTS = ('submodels', 'submodel', 'complementary', 'full')
TEACHERS = ('average', 'current')
IMAGE = 254
"""Label of an unlabelled image's pixels in maps that mark padding, which has another
label: 255 by default, 0 in some configs."""


@dataclass
class Unlabelled:
    r"""Distillation from the full network to submodels on unlabelled images.

    The full network, in evaluation mode, predicts a weakly augmented image. Its
    submodels learn that prediction from the same image under strong augmentation. With
    logits :math:`z_v` of student v and :math:`t` of the teacher:

    .. math::
        \frac{w}{V} \sum_v \ell_{soft}(z_v, t)

    **Not in the cosub paper.** Weak and strong augmentation come from FixMatch (arXiv
    2001.07685), CutMix for segmentation from French et al. (arXiv 1906.01916), the
    moving average from Mean Teacher (arXiv 1703.01780).

    Models of mmseg and mmpretrain multiply the loss by the ``loss_weight`` of the label
    loss. Its other settings, such as class weights, a sum over classes or
    ``reduction='sum'``, do not count here.

    Args:
        weight (float): Weight w, above 0. Defaults to 1.
        ramp_iters (int): Iterations over which the weight rises linearly from 0.
            Defaults to 0, full weight from the start.
        teacher (str): 'average', a moving average of the weights, or 'current', the
            weights themselves. Defaults to 'average'.
        momentum (float): Fraction in (0, 1] of the current weights in each update of
            the average. Defaults to 0.01.
        students (str): 'submodels', two independent draws of DropPath; 'submodel', one;
            'complementary', two draws at rate 0.5, where the second keeps exactly the
            branches that the first drops, so that both together cost one forward;
            'full', the full network. Defaults to 'submodels'.
        drop_path_rate (float, optional): Drop-path rate in (0, 1) of 'submodels',
            constant over depth. Defaults to None, the rates of the labelled images'
            submodels.
        temperature (float): Temperature of the distillation loss. Defaults to 1.
        threshold (float, optional): Confidence in (0, 1) above which the teacher's
            class is a hard label; less confident positions are ignored (FixMatch).
            Defaults to None, soft targets everywhere.
        cutmix (bool): If True, half of each strong image and its targets is replaced
            by another image's. For label maps only. Defaults to True.

    Raises:
        ValueError: If an argument is out of its range, with the valid ones.
    """

    weight: float = 1.0
    ramp_iters: int = 0
    teacher: str = 'average'
    momentum: float = 0.01
    students: str = 'submodels'
    drop_path_rate: float | None = None
    temperature: float = 1.0
    threshold: float | None = None
    cutmix: bool = True

    def __post_init__(self) -> None:
        rate, threshold = self.drop_path_rate, self.threshold
        for name, is_valid, valid in (
            ('weight', self.weight > 0, 'above 0'),
            ('ramp_iters', self.ramp_iters >= 0, '0 or more'),
            ('teacher', self.teacher in TEACHERS, f'one of {TEACHERS}'),
            ('temperature', self.temperature > 0, 'above 0'),
            ('momentum', 0 < self.momentum <= 1, 'in (0, 1]'),
            ('students', self.students in STUDENTS, f'one of {STUDENTS}'),
            ('drop_path_rate', rate is None or 0 < rate < 1, 'in (0, 1)'),
            ('threshold', threshold is None or 0 < threshold < 1, 'in (0, 1)'),
        ):
            if not is_valid:
                value = getattr(self, name)
                raise ValueError(f'unlabelled.{name}={value!r} must be {valid}.')
        if rate is not None and not self.students.startswith('submodel'):
            raise ValueError(
                f'unlabelled.students={self.students!r} has its own rate. Leave '
                'unlabelled.drop_path_rate out.'
            )
        self.soft_loss = SoftLoss('auto', self.temperature)

    def rates(
        self, sites: Sequence[Site], default: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Return the drop-path rate of each branch, of shape (L, ); 0 if frozen.

        Where no rate is set it is ``default``, by default the backbone's own.
        """
        own = dict(complementary=0.5, full=0.0)
        rate = own.get(self.students, self.drop_path_rate)
        if rate is not None:
            default = np.full(len(sites), rate)
        elif default is None:
            default = np.array([site.rate for site in sites])
        rates = default * [site.block.training for site in sites]
        if self.students != 'full' and not rates.any():
            raise ValueError(
                'Every drop-path rate is 0, so the students on unlabelled images would '
                'be the full network. Set unlabelled.drop_path_rate, for instance to '
                "0.2, or unlabelled.students='full'."
            )
        return rates

    def draw(
        self,
        sites: Sequence[Site],
        batch: int,
        rng: np.random.Generator,
        default: NDArray[np.float64] | None = None,
    ) -> Plan:
        """Draw the students of U images in one iteration; see :meth:`rates`."""
        rates, sample = self.rates(sites, default), BernoulliSampler()
        keep = [sample(rates, batch, rng)]  # (L, U) each
        if self.students == 'complementary':
            keep.append(~keep[0] | (rates == 0)[:, None])
        elif self.students == 'submodels':
            keep.append(sample(rates, batch, rng))
        return Plan.from_keep(np.stack(keep, axis=1), rates)

    def mix(
        self,
        strong: Tensor,
        target: Tensor,
        valid: Tensor | None,
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Apply CutMix to strongly augmented images and the teacher's logits alike.

        ``valid`` (U, height, width) is False in padding. Also returns the weights.
        """
        weight = None if valid is None else valid.to(target.dtype)
        if self.cutmix and target.ndim == 4 and len(target) > 1:
            mix = CutMix.draw(len(target), target.shape[2:], rng)
            target, strong = mix(target), mix(strong)
            weight = None if weight is None else mix(weight)
        if weight is not None:
            height, width = target.shape[2:]
            weight = F.adaptive_avg_pool2d(weight, (height, width))
        return strong, target, weight

    def loss(
        self,
        logits: Sequence[Tensor],
        target: Tensor,
        weight: Tensor | None,
        step: int,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss after so many iterations, and values to log.

        Logits of each student, and those of the teacher, have shape (U, C, *).
        """
        confidence, label = self._confidence(target), predicted(target)
        if self.threshold is not None:
            sure = (confidence >= self.threshold).to(target.dtype)
        terms, agreement = [], []
        for z in logits:
            loss = self._term(z, target, label)
            if self.threshold is not None:
                # As in FixMatch, the mean is over all positions, ignored ones too.
                loss = loss * sure
            terms.append(weighted_mean(loss, weight))
            same = (predicted(z.detach()) == label).to(target.dtype)
            agreement.append(weighted_mean(same, weight))
        total = self.weight * self.ramp(step) * torch.stack(terms).mean()
        logs = dict(
            unlabelled_confidence=weighted_mean(confidence, weight),
            unlabelled_agreement=torch.stack(agreement).mean(),
        )
        if self.threshold is not None:
            logs['unlabelled_used'] = weighted_mean(sure, weight)
        return total, logs

    def ramp(self, step: int) -> float:
        """Return the factor of the weight in [0, 1], after so many iterations."""
        return min(1.0, (step + 1) / self.ramp_iters) if self.ramp_iters else 1.0

    def _confidence(self, logits: Tensor) -> Tensor:
        """Return the probability of the predicted class, of shape (U, *)."""
        if logits.shape[1] == 1:
            probability = logits[:, 0].sigmoid()
            return torch.maximum(probability, 1 - probability)
        softmax = self.soft_loss.activation == 'softmax'
        return (logits.softmax(dim=1) if softmax else logits.sigmoid()).amax(dim=1)

    def _term(self, logits: Tensor, target: Tensor, label: Tensor) -> Tensor:
        """Return the loss of one student at every position, of shape (U, *)."""
        if self.threshold is None:
            return self.soft_loss(logits, target)
        if self.soft_loss.activation == 'softmax' and logits.shape[1] > 1:
            return F.cross_entropy(logits, label, reduction='none')
        hard = (target > 0).to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(logits, hard, reduction='none')
        return loss.mean(dim=1)
