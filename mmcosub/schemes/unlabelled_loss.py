"""Loss on unlabelled images during a training, and its averaged teacher.

Shapes: ``V`` students, ``U`` unlabelled images, ``C`` classes, ``*`` positions.
"""

import copy
import logging
from collections.abc import Callable, Sequence
from functools import partial
from inspect import ismethod
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mmcosub.submodels import evaluating, plan_generator, run_submodels, unrecorded
from mmcosub.submodels.class_table import built

from .extras import Extras
from .step import count_processes, get_rank
from .unlabelled import Unlabelled

_logger = logging.getLogger('mmcosub')

PATIENCE = 500
"""Number of iterations without a confident prediction before a warning."""

_STREAM = 2**16
"""Random stream, different from those of plans and passes."""


class UnlabelledLoss:
    """Loss of a co-trained model on the unlabelled images of a batch.

    Its settings are the arguments of :class:`~mmcosub.schemes.Unlabelled`. It holds no
    reference to the model, so that both can be copied.
    """

    def __init__(self, training: Any, cfg: dict) -> None:
        self.method = built(Unlabelled, cfg)
        self.method.rates(training.sites, _rates(training))  # raises if all are 0
        self._used: list[Tensor] = []
        self.averaged = 0
        """Fingerprint of the weights that :meth:`follow` has averaged."""
        if not training.scheme.distills:
            _logger.warning(
                f'{type(training.scheme).__name__} has no distillation between views: '
                'labelled images are learned from their labels alone, unlabelled ones '
                'from the full network.'
            )
        if self.method.teacher == 'average':
            average = Average(training.network, self.method.momentum)
            training.extras = Extras({**training.extras, 'average': average})

    def __call__(
        self,
        training: Any,
        weak: Any,
        strong: Tensor,
        split: Callable[[nn.Module, Any, int], Sequence[Tensor]],
        valid: Tensor | None = None,
    ) -> Tensor:
        """Return the weighted loss of weakly and strongly augmented images.

        ``split(network, outputs, V)`` returns logits of V views, of shape (U, C, *)
        each, from outputs of the backbone as :meth:`SubmodelTraining.read` returns
        them. ``valid`` is that of :meth:`Unlabelled.mix`.
        """
        method, network = self.method, training.network
        method.soft_loss.function = training.scheme.soft_loss.function
        step = training.plans_drawn - 1
        rng = plan_generator(training.plan_seed, step, get_rank(), _STREAM)
        plan = method.draw(training.sites, len(strong), rng, _rates(training))

        read = partial(training.read, auxiliary=False)
        teacher = self._teacher(training)
        with evaluating(teacher):
            whole = training.backbone is network  # the network is its own backbone
            outputs = (teacher if whole else teacher.backbone)(weak)
            target = split(teacher, read(outputs), 1)[0]

        strong, target, weight = method.mix(strong, target, valid, rng)
        # Strongly augmented images do not occur at inference, so BatchNorm does not
        # record their statistics, nor where the backward pass recomputes them.
        quiet = partial(unrecorded, [*network.modules()])
        with quiet():
            caller, sites = training.caller(), training.sites
            execution = training.execution_of_plans()
            outputs, _ = run_submodels(
                caller, strong, plan, sites, execution, (), quiet, read
            )
            logits = split(network, outputs, plan.views)
        loss, logs = method.loss(logits, target, weight, step)
        training.telemetry.update(logs)
        if method.threshold is not None:
            self._report_use(logs['unlabelled_used'])
        return loss

    def _report_use(self, used: Tensor) -> None:
        """Warn if no prediction of many iterations reached the threshold."""
        self._used.append(used)
        if len(self._used) == PATIENCE:  # since the start or resumption
            if not float(torch.stack(self._used).sum()):
                _logger.warning(
                    'No prediction on unlabelled images reached unlabelled.threshold='
                    f'{self.method.threshold} in {PATIENCE} iterations, so nothing is '
                    'learned from them. Lower it, or leave it out for soft targets.'
                )
            self._used.clear()

    def _teacher(self, training: Any) -> Any:
        if self.method.teacher == 'current':
            share_buffers(training.network)
            return training.network
        average = training.extras['average']
        if not average.updates:
            average.update(training.network)  # initialise with the current weights
        return average.network

    def after_step(self, training: Any) -> None:
        """Update the averaged teacher, after a step of the optimizer."""
        if self.method.teacher == 'average':
            training.extras['average'].update(training.network)

    def follow(self, training: Any) -> None:
        """Update the averaged teacher if the weights have changed since last time.

        They have not while gradients accumulate.
        """
        if self.method.teacher != 'average':
            return
        weights = fingerprint(training.network)
        if weights != self.averaged:
            self.averaged = weights
            self.after_step(training)


def _rates(training: Any) -> NDArray[np.float64]:
    """Return the drop-path rates of the labelled images' students."""
    return training.scheme.rates(training.sites, training.scheme.views - 1)


class Average(nn.Module):
    """Moving average of a model's weights and BatchNorm statistics.

    It starts as the mean (the fraction of the current weights is at least 1 / (t + 1)),
    as in Mean Teacher (arXiv 1703.01780). It stays in evaluation mode.
    """

    updates: Tensor

    def __init__(self, model: nn.Module, momentum: float) -> None:
        super().__init__()
        shell = copy.copy(model)
        shell._modules = dict(model._modules)
        if isinstance(shell._modules.get('extras'), Extras):  # of mmseg or mmpretrain
            del shell._modules['extras'], shell._modules['data_preprocessor']
        self.network = copy.deepcopy(shell).eval().requires_grad_(False)
        for module in self.network.modules():
            forward = vars(module).get('forward')
            # MMEngine's checkpointing, which would run the original module.
            if hasattr(forward, '__wrapped__') and not ismethod(forward):
                del module.forward
        self.momentum = momentum
        self.register_buffer('updates', torch.tensor(0))

    def train(self, mode: bool = True) -> 'Average':
        return self

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the current weights."""
        coarse = {p.dtype for p in model.parameters() if p.element_size() < 4}
        if coarse and not self.updates:
            _logger.warning(
                f'Weights in {coarse} are too coarse for a moving average: the teacher '
                'on unlabelled images hardly changes. Keep weights in float32 and use '
                "AMP (--amp, torch.autocast), or set unlabelled.teacher='current'."
            )
        momentum = max(self.momentum, 1 / (int(self.updates) + 1))
        current = _tensors(model)
        for name, mean in _tensors(self.network).items():
            now = current[name]
            mean.data = mean.data.to(now)  # the model may have moved
            if mean.is_floating_point():
                mean.lerp_(now, momentum)
            else:
                mean.copy_(now)
        share_buffers(self.network)
        self.updates += 1


def share_buffers(network: nn.Module) -> None:
    """Give all processes the BatchNorm statistics of the first, as checkpoints do.

    Otherwise teachers, and with them losses, would be others in a resumed run.
    """
    buffers = [b for b in network.buffers() if b.is_floating_point()]
    if buffers and count_processes() > 1:
        vector = parameters_to_vector(buffers)
        torch.distributed.broadcast(vector, 0)
        vector_to_parameters(vector, buffers)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(chain(model.named_parameters(), model.named_buffers()))


def fingerprint(model: nn.Module) -> int:
    """Return a hash of the weights, by the sum of each one's bits."""
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = [p.detach().view(integers[p.element_size()]) for p in model.parameters()]
    sums = [x.sum().to(bits[0].device) for x in bits]  # a model may be on several
    return hash(tuple(torch.stack(sums).tolist()))
