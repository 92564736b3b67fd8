"""Checks of any scheme, user-defined ones included, and of its backbone."""

import logging
from collections.abc import Sequence

from torch import nn

from mmcosub.submodels import (
    Site,
    always_kept,
    are_drop_paths,
    find_drop_paths,
    find_sites,
)

from .base import Scheme

_logger = logging.getLogger('mmcosub')


def check_rates(scheme: Scheme, sites: Sequence[Site]) -> None:
    """Raise if a drop-path rate is not in [0, 1).

    Args:
        scheme (Scheme): The scheme.
        sites (Sequence[Site]): The backbone's branches.

    Raises:
        ValueError: If the rate of a branch in some view is not in [0, 1).
    """
    for view in range(scheme.views):
        for site, rate in zip(sites, scheme.rates(sites, view), strict=True):
            if not 0 <= rate < 1:
                raise ValueError(
                    f'{site.name} drops a branch at the rate {rate:g}, which must be '
                    'in [0, 1): lower model.backbone.drop_path_rate.'
                )


def check_overrides(scheme: Scheme) -> None:
    """Raise if a scheme overrides a method that its pass layout never calls.

    Args:
        scheme (Scheme): The scheme, prepared for its model.

    Raises:
        ValueError: If it overrides ``disturb`` and no view runs alone, or
            ``co_training_loss`` and the views do not run together.
    """
    passes = [len(views) for views in scheme.passes]
    name = type(scheme).__name__
    if _overrides(scheme, 'disturb') and 1 not in passes:
        raise ValueError(
            f'{name}.disturb is for a view that runs alone, and the views of {name} '
            'run together here. Set joint = False in the class, or lean=True for a '
            'DepthScheme.'
        )
    if _overrides(scheme, 'co_training_loss') and scheme.views not in passes:
        raise ValueError(
            f'{name}.co_training_loss is of all views at once, and the views of {name} '
            'run one after another here. Override student_loss, which is of one view, '
            'or set joint = True in the class.'
        )


def _overrides(scheme: Scheme, name: str) -> bool:
    return getattr(type(scheme), name) is not getattr(Scheme, name)


def find_scheme_sites(scheme: Scheme, backbone: nn.Module) -> list[Site]:
    """Return a backbone's branches: of known blocks, or its DropPath modules.

    Args:
        scheme (Scheme): The scheme.
        backbone (nn.Module): The backbone.

    Raises:
        ValueError: If it has none that the scheme's execution can run.
    """
    if scheme.execution == 'drop_path':
        sites: list[Site] = [*find_drop_paths(backbone)]
        if not sites:
            raise ValueError(
                f"scheme.execution='drop_path' needs DropPath modules, and "
                f'{type(backbone).__name__} has none. Set '
                'model.backbone.drop_path_rate, or leave the execution out.'
            )
    else:
        sites = find_sites(backbone)
    kept = always_kept(backbone, sites) if are_drop_paths(sites) else []
    if kept:
        _logger.warning(
            f'{type(backbone).__name__} has no DropPath in {", ".join(kept)} (timm '
            'leaves it out at rate 0), so these are always kept, whatever '
            'scheme.drop_path_rate. docs/add_a_block.md shows how to register a block.'
        )
    if scheme.execution == 'auto' and are_drop_paths(sites):
        _logger.warning(
            f'Not all blocks of {type(backbone).__name__} are known, so its own '
            'DropPath modules run the submodels, all views as one batch: the results '
            'are the same, but no time is saved. docs/add_a_block.md shows how to '
            'register a block.'
        )
    return sites
