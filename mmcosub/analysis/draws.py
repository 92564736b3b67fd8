"""Random submodels, drawn as in training.

Shapes: ``L`` branches, ``K`` submodels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmcosub.submodels import (
    BernoulliSampler,
    Site,
    are_drop_paths,
    called_drop_paths,
    find_sites,
    plan_generator,
    spread_rates,
)

from .network import backbone_of


def find_called_sites(model: Any, batch: Any) -> list[Site]:
    """Return a backbone's branches, or its drop paths in call order.

    Args:
        model (nn.Module): The model.
        batch (dict): A batch of its test loader, to find which drop paths are called.
    """
    backbone = backbone_of(model)
    sites = find_sites(backbone)
    if not are_drop_paths(sites):
        return sites
    images = model.data_preprocessor(batch, False)['inputs']
    return [*called_drop_paths(backbone, images)]


def rates_of(sites: Sequence[Site], scheme: dict) -> NDArray[np.float64]:
    """Return the drop-path rates of a network's submodels.

    Args:
        sites (Sequence[Site]): The backbone's branches.
        scheme (dict): Options ``drop_path_rate`` and ``drop_path_decay`` as of a
            scheme. Without them, the backbone's rates are used.

    Returns:
        ndarray: Of shape (L, ).

    Raises:
        ValueError: If all rates are 0 or one is out of range.
    """
    rate = scheme.get('drop_path_rate')
    if rate is None:
        rates = np.array([site.rate for site in sites])
    else:
        decay = scheme.get('drop_path_decay', 'constant')
        rates = spread_rates(rate, [site.depth for site in sites], decay)
    if not rates.any():
        raise ValueError(
            'All drop-path rates are 0, so every submodel would be the full network. '
            'Give --drop-path-rate, such as that of training.'
        )
    return rates


def draw_factors(
    rates: NDArray[np.float64], count: int, seed: int
) -> NDArray[np.float64]:
    """Draw submodels as in training: kept branches scale by 1 / (1 - rate).

    Args:
        rates (ndarray): Drop-path rates in [0, 1), of shape (L, ).
        count (int): Number of submodels K.
        seed (int): Seed of the draw.

    Returns:
        ndarray: Factor of every branch, of shape (K, L).

    Raises:
        ValueError: If the number is not 1 or more.
    """
    if count < 1:
        raise ValueError(f'-k must be 1 or more submodels, not {count}.')
    keep = BernoulliSampler()(rates, count, plan_generator(seed, 0))
    return (keep / (1 - rates)[:, None]).T
