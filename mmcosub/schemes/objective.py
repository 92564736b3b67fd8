"""What a network learns besides the labels and its views' teaching.

Shapes: ``V`` views, ``B`` samples, ``C`` classes, ``*`` positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmcosub.losses import weighted_mean


@dataclass
class Pass:
    """What one pass of some views has computed.

    Args:
        model (nn.Module): The segmentor or classifier, with its ``scheme``.
        views (list[int]): The V views.
        features (Tensor | tuple): What the backbone put out, with V * B rows.
        tapped (Sequence[Tensor]): What the blocks of :meth:`Objective.taps` put out,
            with V * B rows.
        logits (dict[str, Sequence[Tensor]]): By head, of each view, of shape
            (B, C, *) with positions of the head's own.
        weights (dict[str, Tensor]): By head, weight of each position, of shape
            (B, *). All alike where there is none.
        factors (dict[str, Tensor]): By head, factor of a weighted mean over
            positions that makes it an average over what the label loss averages over.
        scale (Tensor | float): Factor of the co-training loss that follows the
            label loss of the head that predicts. Defaults to 1.
        label_loss (Callable, optional): Label loss of logits of shape (B, C), of a
            classifier.
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
        """Average over a head's positions, as its label loss averages, and scaled.

        Args:
            head (str): Name of the head.
            values (Tensor): Of shape (B, *).
        """
        mean = weighted_mean(values, self.weights.get(head))
        return mean * self.factors.get(head, 1.0) * self.scale


class Objective:
    """One more thing to learn; a scheme has any number of them."""

    def prepare(self, model: Any) -> dict[str, nn.Module]:
        """Look at the model that is to be trained.

        Args:
            model (nn.Module): The segmentor or classifier, with its backbone.

        Returns:
            dict[str, Module]: Modules of the objective's own, from then on
            ``model.extras[name]``. They are trained with the model and resumed with
            it, but are no part of its checkpoint.

        Raises:
            ValueError: If the model has not what the objective needs.
        """
        return {}

    def taps(self, model: Any) -> list[nn.Module]:
        """Blocks whose outputs are wanted besides the backbone's.

        Args:
            model (nn.Module): The segmentor or classifier.
        """
        return []

    def losses(self, done: Pass) -> dict[str, Tensor]:
        """Losses, weighted, by name.

        Args:
            done (Pass): What a pass has computed.
        """
        raise NotImplementedError
