"""One training step: its plan, its passes, and the losses of its views.

Shapes: ``V`` views of a pass, ``B`` images, ``R`` rows of the plan, ``C`` classes,
``*`` positions.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from mmcosub.losses import weighted_mean
from mmcosub.submodels import Plan, plan_generator
from mmcosub.submodels.plan import to_device


class Step:
    """State of a training step, of which one or several passes run its views.

    It has the ``model`` with its ``scheme`` and ``extras``, the ``plan``, and the
    ``number`` of plans drawn before.
    """

    def __init__(
        self, model: Any, plan: Plan, number: int, device: torch.device | str
    ) -> None:
        self.model = model
        self.scheme = model.scheme
        self.plan = plan
        self.number = number
        self.rows = PairedRows(plan, device)
        self.views: list[int] = []
        """The V views of the current pass."""
        self.features: Any = None
        """Outputs of the backbone in this pass, V * B rows, view after view."""
        self.tapped: Sequence[Any] = ()
        """Outputs of the blocks of :meth:`Objective.taps`, with the same rows."""
        self.logits: dict[str, list[Tensor | None]] = {}
        """Of each head and view, (B, C, *); None for views that have not run."""
        self.weights: dict[str, Tensor | None] = {}
        """Weight of each position, (B, *), of heads whose positions differ in it."""
        self.factors: dict[str, Tensor | float] = {}
        """Factor of a weighted mean to the average of the label loss, if not 1."""
        self.scale: Tensor | float = 1.0
        """Factor of the co-training loss by the settings of the label loss."""
        self.label_loss: Callable[[Tensor], Tensor] | None = None
        """Label loss of a classifier for logits (B, C)."""
        self.telemetry: dict[str, Tensor] = {}
        """Values of the views, to be logged."""

    def generator(self) -> np.random.Generator:
        """Return the random generator of this pass, independent of the plan's."""
        return plan_generator(
            self.model.plan_seed, self.number, get_rank(), 1 + self.views[0]
        )

    def label_losses(
        self, outputs: Sequence[Any], label_loss: Callable[[Any], dict], log: bool
    ) -> dict[str, Any]:
        """Return a head's label losses, combined over the views that see the label."""
        labels = self.scheme.label_weights
        views = zip(self.views, outputs, strict=True)
        seeing = [(view, output) for view, output in views if labels[view]]
        combined: dict[str, Any] = {}
        for view, output in seeing:
            terms = label_loss(output)
            if log:
                self.log(f'label_view{view}', total_loss(terms))
            for key, term in terms.items():
                # What is no loss (accuracies) is averaged.
                factor = labels[view] if 'loss' in key else 1 / len(seeing)
                term = _value(term) if isinstance(term, list | tuple) else term
                combined[key] = combined.get(key, 0) + factor * term
        return combined

    def record(self, head: str, logits: Sequence[Tensor]) -> None:
        """Keep a head's logits (B, C, *) of each view of the pass."""
        seen = self.logits.setdefault(head, [None] * self.scheme.views)
        for view, z in zip(self.views, logits, strict=True):
            seen[view] = z

    def of_pass(self, head: str) -> list[Tensor]:
        """Return a head's logits of the views of this pass; none if it has not run."""
        seen = self.logits.get(head, [None] * self.scheme.views)
        return [z for view in self.views if (z := seen[view]) is not None]

    def mean(self, head: str, values: Tensor) -> Tensor:
        """Return the average of values (B, *) as the label loss of a head averages."""
        mean = weighted_mean(values, self.weights.get(head))
        return mean * self.factors.get(head, 1.0) * self.scale

    def distillation(
        self, head: str, scale: Tensor | float, log: bool, threshold: float = 0.5
    ) -> Tensor:
        """Return the co-training loss of this pass at a head, from the paired images.

        ``scale`` is the weight of the head's label loss, ``threshold`` the probability
        above which a head with one channel predicts its class.
        """
        weight = self.weights.get(head)
        fraction = self.rows.fraction(weight) / self.scheme.paired
        weight = self.rows.pairs(weight)
        # None only for views that are not needed yet.
        logits: Any = [self.rows.pairs(z) for z in self.logits[head]]
        first = logits[self.views[0]]
        if len(first):
            losses = [self.scheme.student_loss(v, logits, weight) for v in self.views]
            loss = torch.stack(losses).sum()
        else:
            loss = first.new_zeros((), dtype=torch.float32)
        loss = fraction * loss * self.factors.get(head, 1.0) * scale
        if log:
            self.log('co_training', loss)
            if len(logits) > 1 and len(first) and all(z is not None for z in logits):
                agreement = _agreement(logits, weight, threshold)
                self.telemetry['agreement'] = agreement
        return loss

    def end_pass(self) -> None:
        """Let go of the pass's graph: logits are teachers of later passes only."""
        self.features, self.tapped = None, ()
        for logits in self.logits.values():
            logits[:] = [z if z is None else z.detach() for z in logits]

    def log(self, name: str, value: Any) -> None:
        """Add a number to a logged value."""
        value = torch.as_tensor(value).detach()
        self.telemetry[name] = self.telemetry.get(name, 0) + value


class PairedRows:
    """Rows of the backbone, where a plan's ``paired`` names the images with two views.

    Where it names none, every method returns what it is given.
    """

    def __init__(self, plan: Plan, device: torch.device | str) -> None:
        self.paired, self.computed = plan.paired, plan.computed
        if self.paired is None:
            return
        index = np.tile(np.arange(plan.batch), plan.views)
        index[self.computed] = np.arange(len(self.computed))
        self._index = to_device(index, device)
        self._pairs = to_device(np.flatnonzero(self.paired), device)

    def spread(self, outputs: Any) -> Any:
        """Return outputs of R rows with one row for each view and image.

        Tensors with another number of rows are of no image, and stay.
        """
        if self.paired is None:
            return outputs

        def spread(x: Any) -> Any:
            fits = isinstance(x, Tensor) and x.ndim > 0 and len(x) == len(self.computed)
            return x.index_select(0, self._index) if fits else x

        return tree_map(spread, outputs)

    def samples(self, data_samples: Sequence[Any], views: int) -> list[Any]:
        """Return the label of each computed row, from the labels of the B images."""
        samples = list(data_samples) * views
        return samples if self.paired is None else [samples[i] for i in self.computed]

    def pairs(self, x: Any) -> Any:
        """Return the rows of the paired images, of a tensor (B, *) or None."""
        return x if x is None or self.paired is None else x.index_select(0, self._pairs)

    def fraction(self, weight: Tensor | None) -> float | Tensor:
        """Return the fraction that the paired images have of the weight (B, *)."""
        if self.paired is None:
            return 1.0
        if weight is None:
            return float(self.paired.mean())
        tiny = torch.finfo(weight.dtype).tiny
        return self.pairs(weight).sum() / weight.sum().clamp_min(tiny)


def get_rank() -> int:
    """Return the rank of this process, 0 without distributed training."""
    return torch.distributed.get_rank() if count_processes() > 1 else 0


def count_processes() -> int:
    """Return the number of processes of the training."""
    distributed = torch.distributed
    started = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if started else 1


def predicted(logits: Tensor, threshold: float = 0.5) -> Tensor:
    """Return the classes (B, *) that logits (B, C, *) predict."""
    if logits.shape[1] == 1:
        return logits.squeeze(1).sigmoid() > threshold
    return logits.argmax(dim=1)


@torch.no_grad()
def _agreement(
    logits: Sequence[Tensor], weight: Tensor | None, threshold: float
) -> Tensor:
    """Return the fraction of positions where other views agree with the first."""
    first, *others = (predicted(z, threshold) for z in logits)
    same = [weighted_mean((classes == first).float(), weight) for classes in others]
    return torch.stack(same).mean()


def total_loss(terms: dict[str, Any]) -> Any:
    """Return the sum of a head's losses, as MMEngine adds them up."""
    return sum(_value(term) for key, term in terms.items() if 'loss' in key)


def _value(loss: Any) -> Any:
    """Return the mean of a loss of any shape, or the sum of the means of several."""
    if isinstance(loss, list | tuple):
        return sum(part.mean() for part in loss)
    return loss.mean()
