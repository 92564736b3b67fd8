"""Sums over positions that NLL, ECE and Brier score are made of.

Shapes: ``C`` classes, ``P`` positions: labelled pixels, or one image.
"""

import torch
from torch import Tensor

BINS = 15
"""Bins of the calibration error, as in Guo et al., arXiv 1706.04599."""
_LEAST = 1e-12
"""Where a probability is below, its logarithm is that of this."""


def as_probabilities(logits: Tensor) -> Tensor:
    """Probabilities from what mmseg stores as ``seg_logits``.

    That is the probability itself for one output channel. A pixel has exactly one
    class, so that softmax is right for heads with a sigmoid of each class, too: it is
    the probability of one class under the condition that no other one is there. From
    one channel there are two classes.
    """
    logits = logits.float()
    return torch.cat([1 - logits, logits]) if len(logits) == 1 else logits.softmax(0)


def sum_positions(probabilities: Tensor, labels: Tensor, predicted: Tensor) -> Tensor:
    """Sum up what the metrics need, in float64 on the CPU.

    From probabilities (C, P), labels (P,) and predicted classes (P,), return a tensor
    of shape (4 + BINS,): number of positions, of right predictions, sums of negative
    log-likelihoods and of Brier scores, and for each bin of confidence that of accuracy
    less confidence.
    """
    true = probabilities.gather(0, labels[None])[0].cpu().double()
    confidence = probabilities.gather(0, predicted[None])[0].cpu().double()
    squares = probabilities.square().sum(0).cpu().double()
    right = (predicted == labels).cpu().double()
    bins = (confidence * BINS).long().clamp(0, BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64)
    gaps.index_add_(0, bins, right - confidence)
    nll = -true.clamp_min(_LEAST).log().sum()
    # |p - onehot|² = |p|² - 2 p(label) + 1
    brier = (squares - 2 * true + 1).sum()
    count = torch.tensor(float(len(labels)), dtype=torch.float64)
    return torch.cat([torch.stack([count, right.sum(), nll, brier]), gaps])


def mean_metrics(sums: Tensor) -> dict[str, float]:
    """Return metrics from sums of :func:`sum_positions`, added up over images.

    ``accuracy`` and ``ece`` are in percent, ``nll`` in nats, ``brier`` from 0 to 2; nan
    if no position was labelled.
    """
    right, nll, brier = (sums[1:4] / sums[0]).tolist()
    ece = float(sums[4:].abs().sum() / sums[0])
    return dict(accuracy=100 * right, nll=nll, brier=brier, ece=100 * ece)
