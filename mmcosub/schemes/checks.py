"""Checks of any scheme, user-defined ones included, and of its backbone."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from mmcosub.submodels import (
    Site,
    always_kept,
    are_drop_paths,
    find_drop_paths,
    find_sites,
)

if TYPE_CHECKING:
    from .base import Scheme

_logger = logging.getLogger('mmcosub')


def check_frozen(scheme: 'Scheme', sites: Sequence[Site]) -> None:
    """Raise a ``ValueError`` if no block of a backbone is in training mode."""
    if not any(site.block.training for site in sites):
        raise ValueError(
            'Every block of the backbone is frozen (in evaluation mode), where no '
            f'branch is dropped, so {type(scheme).__name__} has no submodels. Lower '
            'model.backbone.frozen_stages, or train without a scheme.'
        )


def check_views_differ(scheme: 'Scheme', sites: Sequence[Site]) -> None:
    """Raise a ``ValueError`` if views that distill would all be the same network."""
    if scheme.distills and not scheme.rates(sites).any():
        raise ValueError(
            f'Every drop-path rate is 0, so all views of {type(scheme).__name__} would '
            'be the same network and teach each other nothing. Set '
            'model.backbone.drop_path_rate or scheme.drop_path_rate, for instance with '
            '--cfg-options scheme.drop_path_rate=0.1, or with '
            'CoTrainer(model, drop_path_rate=0.1).'
        )
    never = {type(s.block) for s in sites if s.branch.drop_path is None}
    if scheme.drop_path_rate is None and never:
        _logger.warning(
            f'Some branches of {[c.__module__ for c in never]} have no DropPath '
            "upstream and are always kept (the attention of mmseg's ViT). Set "
            'scheme.drop_path_rate to drop them too.'
        )


def check_rates(scheme: 'Scheme', sites: Sequence[Site]) -> None:
    """Raise a ``ValueError`` if the rate of a branch in a view is not in [0, 1)."""
    for view in range(scheme.views):
        for site, rate in zip(sites, scheme.rates(sites, view), strict=True):
            if not 0 <= rate < 1:
                raise ValueError(
                    f'{site.name} drops a branch at the rate {rate:g}, which must be '
                    'in [0, 1): lower model.backbone.drop_path_rate.'
                )


def check_overrides(scheme: 'Scheme') -> None:
    """Raise if a scheme overrides a method that its pass layout never calls.

    That is ``disturb`` if no view runs alone, and ``co_training_loss`` if the views do
    not run together.
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


def _overrides(scheme: 'Scheme', name: str) -> bool:
    """Return True if a class besides ``Scheme`` itself defines a method."""
    return sum(name in vars(cls) for cls in type(scheme).__mro__) > 1


def find_scheme_sites(scheme: 'Scheme', backbone: nn.Module) -> list[Site]:
    """Return a backbone's branches: of known blocks, or its DropPath modules.

    Raises a ``ValueError`` if it has none that the scheme's execution can run.
    """
    name = type(backbone).__name__
    sites: list[Site]
    if scheme.execution == 'drop_path':
        sites = [*find_drop_paths(backbone)]
        if not sites:
            raise ValueError(
                f"scheme.execution='drop_path' needs DropPath modules, and {name} has "
                'none. Set model.backbone.drop_path_rate, or leave the execution out.'
            )
    else:
        sites = find_sites(backbone)
    if not are_drop_paths(sites):
        return sites
    kept = always_kept(backbone, sites)
    if kept:
        _logger.warning(
            f'{name} has no DropPath in {", ".join(kept)} (timm leaves it out at rate '
            '0), so these are always kept, whatever scheme.drop_path_rate. '
            'docs/add_a_block.md shows how to register a block.'
        )
    if scheme.execution == 'auto':
        _logger.warning(
            f'Not all blocks of {name} are known, so its own DropPath modules run the '
            'submodels, all views as one batch: the results are the same, but no time '
            'is saved. docs/add_a_block.md shows how to register a block.'
        )
    return sites
