"""What is measured of a trained classifier."""

import numpy as np
import torch
from fashion import Images
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from mmcosub.submodels import Plan, find_branches, run_submodels

SUBMODELS = 4
"""Random submodels of each depth."""


@torch.inference_mode()
def predict(model: nn.Module, data: Images) -> Tensor:
    """Logits of shape (N, C).

    Args:
        model (Module): A classifier in evaluation mode.
        data (Images): The images.
    """
    return torch.cat([_logits(model, x) for x in data.images.split(100)]).cpu()


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    return model(inputs, mode='tensor')


def scores(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy in percent, negative log-likelihood and calibration error.

    Args:
        logits (Tensor): Of shape (N, C).
        labels (Tensor): Of shape (N, ).
    """
    return dict(
        accuracy=100 * float((logits.argmax(1) == labels).float().mean()),
        nll=float(F.cross_entropy(logits, labels)),
        ece=calibration_error(logits.softmax(1), labels),
    )


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature at which the logits are likeliest (Guo et al., section 4.2).

    Args:
        logits (Tensor): Of shape (N, C, *), not those that are scored with it.
        labels (Tensor): Of shape (N, *).
    """

    def nll(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / np.exp(log_temperature), labels))

    found = minimize_scalar(nll, bounds=(-2.0, 3.0), method='bounded')
    return float(np.exp(found.x))


def calibration_error(probabilities: Tensor, labels: Tensor, bins: int = 15) -> float:
    """Expected calibration error in percent (Guo et al., arXiv 1706.04599, eq. 3).

    Args:
        probabilities (Tensor): Of shape (N, C).
        labels (Tensor): Of shape (N, ).
        bins (int): Bins of equal width. Defaults to 15.
    """
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).float()
    index = (confidence * bins).long().clamp(max=bins - 1)
    gaps = torch.zeros(bins).index_add_(0, index, right - confidence)
    return 100 * float(gaps.abs().sum() / len(labels))


@torch.inference_mode()
def branch_depths(
    model: nn.Module, data: Images, count: int = 1000
) -> dict[str, float]:
    """Mean accuracy of random submodels, by how many blocks they keep.

    The submodels are the same for all networks of as many blocks.

    Args:
        model (Module): A classifier in evaluation mode.
        data (Images): The images.
        count (int): How many of them. Defaults to 1,000.
    """
    sites = find_branches(model.backbone)
    depth = sites[-1].depth + 1
    count = min(count, len(data.labels))
    chosen = torch.linspace(0, len(data.labels) - 1, count).long()
    images, labels = data.images[chosen], data.labels[chosen]
    inputs = model.data_preprocessor(dict(inputs=images))['inputs']
    rng = np.random.default_rng(0)
    result = {}
    for kept in range(1, depth):
        right = []
        for _ in range(SUBMODELS):
            blocks = rng.permutation(depth)[:kept]
            active = np.array([float(site.depth in blocks) for site in sites])
            for x, y in zip(inputs.split(100), labels.split(100), strict=True):
                plan = Plan(np.tile(active[:, None, None], (1, 1, len(x))))
                features, _ = run_submodels(model.backbone, x, plan, sites, 'kept_rows')
                predicted = model.head(features).argmax(1).cpu()
                right.append((predicted == y).float().mean())
        result[str(kept)] = 100 * float(torch.stack(right).mean())
    return result
