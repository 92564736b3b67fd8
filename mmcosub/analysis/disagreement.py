"""Disagreement of submodels.

Shapes: ``K`` submodels, ``C`` classes, ``...`` positions: the pixels of an image, or
none for a classifier.
"""

import math

import torch
from torch import Tensor

from .predictions import predicted_classes

SCORES = ('entropy', 'mutual_information', 'disagreement')
"""Scores to rank images by."""


class Ensemble:
    """Running mean and disagreement of submodels' probabilities.

    Keeps at most two predictions in memory.

    Args:
        threshold (float, optional): Threshold of predictions, see :func:`threshold_of`.
            Defaults to None: the most likely class.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self.sum: Tensor | None = None
        self.entropies: Tensor | None = None
        self.predicted: list[Tensor] = []

    def add(self, probabilities: Tensor) -> None:
        """Add the next submodel.

        Args:
            probabilities (Tensor): Of shape (C, ...).
        """
        if self.sum is None or self.entropies is None:
            self.sum = probabilities.clone()
            self.entropies = entropy(probabilities)
        else:
            self.sum += probabilities
            self.entropies += entropy(probabilities)
        predicted = predicted_classes(probabilities, self.threshold)
        self.predicted.append(predicted.to(torch.int16))

    @property
    def mean(self) -> Tensor:
        """Mean of the probabilities, of shape (C, ...)."""
        assert self.sum is not None
        return self.sum / len(self.predicted)

    @property
    def prediction(self) -> Tensor:
        """Classes that the mean predicts, of shape (...)."""
        return predicted_classes(self.mean, self.threshold)

    @property
    def disagreement(self) -> Tensor:
        """Fraction of the submodels that predict another class than their mean.

        Returns:
            Tensor: Of shape (...), in [0, 1).
        """
        other = torch.stack(self.predicted) != self.prediction
        return other.float().mean(dim=0)

    @property
    def mutual_information(self) -> Tensor:
        r"""Mean divergence of the submodels from their mean.

        Entropy of the mean minus mean of the entropies (BALD, Houlsby et al., arXiv
        1112.5745, eq. 2), divided by the logarithm of the number of classes. 0 if all
        submodels agree, however confident they are.

        Returns:
            Tensor: Of shape (...), in [0, 1].
        """
        assert self.entropies is not None
        inside = self.entropies / len(self.predicted)
        return (entropy(self.mean) - inside).clamp_min(0)

    def scores(self) -> dict[str, float]:
        """Means of ``SCORES`` over positions; the entropy is that of the mean."""
        found = (entropy(self.mean), self.mutual_information, self.disagreement)
        return {k: float(v.mean()) for k, v in zip(SCORES, found, strict=True)}


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy, as a fraction of that of the uniform distribution.

    Args:
        probabilities (Tensor): Of shape (C, ...), C at least 2.

    Returns:
        Tensor: Of shape (...), in [0, 1].
    """
    terms = torch.special.entr(probabilities)
    return terms.sum(dim=0) / math.log(len(probabilities))
