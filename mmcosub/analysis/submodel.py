"""Fixed submodels: a network forwarded with some branches only.

In training, :func:`mmcosub.submodels.run_submodels` runs a different submodel for each
image. Here all images use the same one, for any number of calls and rows, as in sliding
windows.

Shapes: ``L`` branches, ``K`` submodels. Factors are those of every branch: of shape
(L, ) for a submodel, (K, L) for several.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmcosub.submodels import (
    BernoulliSampler,
    Site,
    are_drop_paths,
    called_drop_paths,
    find_sites,
    plan_generator,
    spread_rates,
)
from mmcosub.submodels.forward_override import ForwardOverride
from mmcosub.submodels.run import BranchCall, SubmodelRun

Factors = NDArray[np.float64]


@contextmanager
def as_submodel(
    backbone: nn.Module, sites: Sequence[Site], factors: Factors
) -> Iterator[None]:
    """Run a backbone, in evaluation mode, as one fixed submodel within a context.

    Branches with factor 0 are skipped, unless the block is unknown and only its
    DropPath is found. Blocks whose factors are all 1 run unchanged.
    """
    run: ForwardOverride
    if are_drop_paths(sites):
        run = _scaled_drop_paths(backbone, sites, factors)
    else:
        changed = {s.block for s, f in zip(sites, factors, strict=True) if f != 1}
        at = [i for i, site in enumerate(sites) if site.block in changed]
        branch = partial(_scaled_branch, factors[at])
        some = [sites[i] for i in at]
        run = SubmodelRun(backbone, some, branch, nullcontext, ordered=False)
    with run.entered():
        yield


def _scaled_branch(factors: Factors, x: Tensor, call: BranchCall) -> Tensor:
    factor = float(factors[call.number])
    shortcut = call.shortcut(x)
    if not factor:
        return call.after(shortcut)
    return call.after(torch.add(shortcut, call.residual(x), alpha=factor))


def _scaled_drop_paths(
    backbone: nn.Module, sites: Sequence[Any], factors: Factors
) -> ForwardOverride:
    """Drop paths that multiply by the factors of their calls, forward after forward."""
    of_calls: dict[nn.Module, list[float]] = {}
    for site, factor in zip(sites, factors, strict=True):
        of_calls.setdefault(site.module, []).append(float(factor))

    def scale(factors: Iterator[float], x: Tensor) -> Tensor:
        return x * next(factors)

    forwards = {m: partial(scale, cycle(found)) for m, found in of_calls.items()}
    return ForwardOverride(backbone, forwards, nullcontext, progress=None)


def backbone_of(model: nn.Module) -> nn.Module:
    """Return the backbone of a segmentor or classifier; ValueError if it has none."""
    backbone: Any = getattr(model, 'backbone', None)
    if backbone is None and type(model).__name__ == 'TimmClassifier':
        backbone = model.model
    if backbone is None:
        raise ValueError(
            f'{type(model).__name__} has no backbone: it is neither a segmentor of '
            'MMSegmentation nor a classifier of MMPretrain.'
        )
    return backbone


def find_called_sites(model: Any, batch: Any) -> list[Site]:
    """Return a backbone's branches or, from a test batch, its drop paths as called."""
    backbone = backbone_of(model)
    sites = find_sites(backbone)
    if not are_drop_paths(sites):
        return sites
    images = model.data_preprocessor(batch, False)['inputs']
    return [*called_drop_paths(backbone, images)]


def predict_submodels(
    model: Any, sites: Sequence[Site], factors: Factors, batch: Any
) -> Iterator[list[Any]]:
    """Yield the results of ``test_step`` of each of K submodels."""
    for of_one in factors:
        with as_submodel(backbone_of(model), sites, of_one):
            results = model.test_step(batch)
        yield results


def rates_of(sites: Sequence[Site], scheme: dict) -> NDArray[np.float64]:
    """Return rates (L, ) of the scheme or the backbone; ValueError if all are 0."""
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


def draw_factors(rates: NDArray[np.float64], count: int, seed: int) -> Factors:
    """Draw K submodels as in training: kept branches scale by 1 / (1 - rate)."""
    if count < 1:
        raise ValueError(f'-k must be 1 or more submodels, not {count}.')
    keep = BernoulliSampler()(rates, count, plan_generator(seed, 0))
    return (keep / (1 - rates)[:, None]).T
