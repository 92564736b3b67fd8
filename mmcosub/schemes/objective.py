"""Additional objectives, beside label losses and distillation between views.

Shapes: ``V`` views, ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmcosub.losses import weighted_mean


@dataclass
class Pass:
    """Results of one pass of some views.

    Args:
        model (nn.Module): The segmentor or classifier, with its ``scheme``.
        views (list[int]): The V views.
        features (Tensor | tuple): Outputs of the backbone, with V * B rows.
        tapped (Sequence[Tensor]): Outputs of the blocks of :meth:`Objective.taps`, with
            V * B rows.
        logits (dict[str, Sequence[Tensor]]): For each head, logits of each view, of
            shape (B, C, *) at the head's resolution.
        weights (dict[str, Tensor]): For each head, weight of each position, of shape
            (B, *). Equal weights for heads without an entry.
        factors (dict[str, Tensor]): For each head, factor that turns a weighted mean
            over positions into the average of the label loss.
        scale (Tensor | float): Factor of the co-training loss, from the settings of the
            main head's label loss. Defaults to 1.
        label_loss (Callable, optional): Label loss of a classifier for logits of shape
            (B, C).
    """

    model: Any
    views: list[int]
    features: Any
    tapped: Sequence[Tensor] = ()
    logits: dict[str, Sequence[Tensor]] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    factors: dict[str, Tensor | float] = field(default_factory=dict)
    scale: Tensor | float = 1.0
    label_loss: Callable[[Tensor], Tensor] | None = None

    def mean(self, head: str, values: Tensor) -> Tensor:
        """Return the scaled average over positions, as the head's label loss averages.

        Args:
            head (str): Name of the head.
            values (Tensor): Of shape (B, *).
        """
        mean = weighted_mean(values, self.weights.get(head))
        return mean * self.factors.get(head, 1.0) * self.scale


class Objective:
    """Base class of additional losses of a scheme."""

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Inspect the model, and return modules to add to it as ``Scheme.prepare``.

        Args:
            model (nn.Module): The segmentor or classifier, with its backbone.

        Raises:
            ValueError: If the model lacks what the objective needs.
        """
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        """Return blocks whose outputs the objective needs.

        Args:
            model (nn.Module): The segmentor or classifier.
        """
        return []

    def losses(self, done: Pass) -> dict[str, Tensor]:
        """Return weighted losses by name.

        Args:
            done (Pass): Results of a pass.
        """
        raise NotImplementedError
