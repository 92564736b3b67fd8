"""Unlabelled images in the training of mmseg's and mmpretrain's models.

Shapes: ``V`` students, ``U`` unlabelled images, ``C`` classes.
"""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.schemes.extras import Extras
from mmcosub.schemes.iteration import get_rank
from mmcosub.schemes.unlabelled import Unlabelled
from mmcosub.submodels import evaluating, run_submodels

from .segmentor_heads import list_heads
from .views import split_views

PATIENCE = 500
"""Iterations without a confident prediction after which there is a warning."""

_STREAM = 3
"""Tells the random numbers of unlabelled images from those of plans and of data."""


class UnlabelledLoss:
    """Loss of a co-trained model on the unlabelled images of a batch.

    Args:
        model (CoTraining): The model; its branches are known already.
        cfg (dict): Arguments of :class:`~mmcosub.schemes.unlabelled.Unlabelled`.
    """

    def __init__(self, model: Any, cfg: dict) -> None:
        self.method = Unlabelled(**cfg)
        self.method.soft_loss.function = model.scheme.soft_loss.function
        self.method.rates(model.sites)  # refuses rates of 0
        self._used: Tensor | None = None
        if not any(teaching.weight for teaching in model.scheme.teachings):
            print_log(
                f'{type(model.scheme).__name__} has no distillation between views: '
                'labelled images are learned from their labels alone, unlabelled ones '
                'from the full network.',
                'current',
            )
        if self.method.teacher == 'average':
            average = Average(model, self.method.momentum)
            model.extras = Extras({**model.extras, 'average': average})

    def __call__(self, model: Any, batch: dict) -> dict[str, Tensor]:
        """Loss; what else there is to log joins the model's telemetry.

        Args:
            model (CoTraining): The model.
            batch (dict): ``weak`` and ``strong`` images, of shape (U, 3, height,
                width), ``data_samples`` of the weak ones and, perhaps, ``valid``.

        Returns:
            dict[str, Tensor]: ``loss_unlabelled``.
        """
        samples = batch['data_samples']
        step = model.plans_drawn - 1
        rng = np.random.default_rng((model.plan_seed, get_rank(), step, _STREAM))
        plan = self.method.draw(model.sites, len(batch['strong']), rng)
        teacher = model
        if self.method.teacher == 'average':
            if not model.extras['average'].updates:
                self.after_step(model)  # to begin with the weights as they are
            teacher = model.extras['average'].network

        def teach(images: Tensor) -> Tensor:
            with evaluating(teacher):
                return _logits(teacher, teacher.backbone(images), samples, 1)[0]

        def learn(images: Tensor) -> list[Tensor]:
            execution = model.execution_of_plans()
            with _statistics_kept(model):
                features, _ = run_submodels(
                    model.backbone, images, plan, model.sites, execution
                )
                return _logits(model, features, samples, plan.views)

        loss, logs = self.method.loss(
            batch['weak'], batch['strong'], teach, learn, rng, step, batch.get('valid')
        )
        model.telemetry.update(logs)
        self._report_use(step, logs.get('unlabelled_used'))
        return dict(loss_unlabelled=loss * _label_weight(model))

    def _report_use(self, step: int, used: Tensor | None) -> None:
        """Warn where no prediction of many iterations reached the threshold."""
        if used is None:
            return
        self._used = used if self._used is None else self._used + used
        if (step + 1) % PATIENCE == 0:
            if not float(self._used):
                print_log(
                    f'No prediction on unlabelled images reached unlabelled.threshold='
                    f'{self.method.threshold} in {PATIENCE} iterations, so nothing is '
                    'learned from them. Lower it, or leave it out for soft targets.',
                    'current',
                    logging.WARNING,
                )
            self._used = None

    def preprocess(self, model: Any, batch: dict) -> dict:
        """Normalise the images, and find what is padding.

        Args:
            model (CoTraining): The model.
            batch (dict): ``weak`` and ``strong``, lists of images, and
                ``data_samples``, whose label map tells padding from the image.
        """
        segments = hasattr(model, 'decode_head')
        both = []
        for name in ('weak', 'strong'):
            data = dict(inputs=batch[name], data_samples=batch['data_samples'])
            # A classifier's preprocessor would mix images where it trains.
            both.append(model.data_preprocessor(data, segments))
        samples = both[0]['data_samples']
        done = dict(weak=both[0]['inputs'], strong=both[1]['inputs'])
        if segments:
            maps = torch.stack([sample.gt_sem_seg.data[0] for sample in samples])
            done['valid'] = maps == 0
        return dict(done, data_samples=samples)

    def after_step(self, model: Any) -> None:
        """Move the average towards the weights.

        Args:
            model (nn.Module): The model, after the optimizer's step.
        """
        if self.method.teacher == 'average':
            model.extras['average'].update(model)


class Average(nn.Module):
    """Moving average of a model's weights and statistics.

    It begins as their mean (the momentum is 1 / (t + 1) as long as that is larger), as
    Mean Teacher's (arXiv 1703.01780) does.

    Args:
        model (nn.Module): The model.
        momentum (float): Fraction of the current weights in an update.
    """

    updates: torch.Tensor

    def __init__(self, model: nn.Module, momentum: float) -> None:
        super().__init__()
        shell = copy.copy(model)
        shell._modules = {
            name: part
            for name, part in model._modules.items()
            if name not in ('data_preprocessor', 'extras')
        }
        self.network = copy.deepcopy(shell).requires_grad_(False)
        self.momentum = momentum
        self.register_buffer('updates', torch.tensor(0))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights.

        Args:
            model (nn.Module): The model.
        """
        momentum = max(self.momentum, 1 / (int(self.updates) + 1))
        current = model.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(current[name], momentum)
            else:
                mean.copy_(current[name])
        self.updates += 1


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Have BatchNorm use a batch's statistics without noting them.

    They are those of strongly augmented images, which the model never predicts.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _label_weight(model: Any) -> float:
    """Weight of the label loss, which the weight of this loss is relative to."""
    if hasattr(model, 'decode_head'):
        return next(head.weight for head in list_heads(model) if head.main)
    return getattr(model.label_loss, 'loss_weight', 1.0)


def _logits(model: Any, features: Any, samples: list, views: int) -> list[Tensor]:
    """Logits of each view that a model predicts with, of shape (U, C, ...)."""
    if model.with_neck:
        features = model.neck(features)
    if not hasattr(model, 'decode_head'):
        head = getattr(model, 'head', None)  # timm's models have theirs inside
        logits = features if head is None else head(features)
        return list(logits.chunk(views))
    previous: Any = None
    for head in list_heads(model):
        if head.auxiliary or head.refines_points:
            continue
        previous = head.run(features, previous, samples, views)
        if head.main:
            return [head.logits(out) for out in split_views(previous, views)]
    raise AssertionError('A segmentor has a main head.')
