"""Checks of any scheme, user-defined ones included, and of its backbone."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from mmcosub.submodels import Site, are_drop_paths, find_drop_paths, find_sites
from mmcosub.submodels.drop_paths import always_kept

if TYPE_CHECKING:
    from .base import Scheme

_logger = logging.getLogger('mmcosub')


def check_views_differ(scheme: 'Scheme', sites: Sequence[Site]) -> None:
    """Raise a ``ValueError`` if views that distill would all be the same network."""
    if not scheme.distills:
        return
    if not scheme.rates(sites).any():
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


def check_sites(scheme: 'Scheme', sites: Sequence[Site]) -> None:
    """Raise a ``ValueError`` if a scheme cannot train a backbone's branches.

    These checks are of any scheme; those of its own follow.
    """
    for view in range(scheme.views):
        for site, rate in zip(sites, scheme.rates(sites, view), strict=True):
            if not 0 <= rate < 1:
                raise ValueError(
                    f'{site.name} drops a branch at the rate {rate:g}, which must be '
                    'in [0, 1): lower model.backbone.drop_path_rate.'
                )
    # An ordinary training, of one view, may freeze all blocks.
    if scheme.views > 1 and not any(site.block.training for site in sites):
        raise ValueError(
            'Every block of the backbone is frozen (in evaluation mode), where no '
            f'branch is dropped, so {type(scheme).__name__} has no submodels. Lower '
            'model.backbone.frozen_stages, or train without a scheme.'
        )
    scheme.check(sites)


def check_overrides(scheme: 'Scheme') -> None:
    """Raise a ``ValueError`` if a scheme defines what is never called, or no view."""
    name, methods = type(scheme).__name__, dir(type(scheme))
    if 'co_training_loss' in methods:
        raise ValueError(
            f'{name}.co_training_loss is never called: override student_loss, which is '
            'of one view.'
        )
    overridden = sum('disturb' in vars(cls) for cls in type(scheme).__mro__) > 1
    if overridden and all(len(views) > 1 for views in scheme.passes):
        raise ValueError(
            f'{name}.disturb is for a view that runs alone, and all run together here. '
            'Set joint = False in the class, or lean=True for a DepthScheme.'
        )
    turn = {view: i for i, views in enumerate(scheme.passes) for view in views}
    for teaching in scheme.teachings:
        given, last = teaching.teacher, turn.get(teaching.student, -1)
        teachers = [given] if isinstance(given, int) else given
        if any(turn.get(view, last + 1) > last for view in teachers):
            raise ValueError(
                f'{name}.teachings has {teaching}, and views {[*turn]} run in this '
                'order. Teachers must be among them, and run before their students.'
            )


def find_scheme_sites(scheme: 'Scheme', backbone: nn.Module) -> list[Site]:
    """Return a backbone's branches: of known blocks, or its DropPath modules.

    Raises a ``ValueError`` if it has none that the scheme's execution can run.
    """
    name = type(backbone).__name__
    find: Any = find_drop_paths if scheme.execution == 'drop_path' else find_sites
    sites: list[Site] = find(backbone)
    if not sites:
        raise ValueError(
            f"scheme.execution='drop_path' needs DropPath modules, and {name} has "
            'none. Set model.backbone.drop_path_rate, or leave the execution out.'
        )
    if not are_drop_paths(sites):
        return sites
    own = [site.rate * site.block.training for site in sites]
    changed = any((scheme.rates(sites, v) != own).any() for v in range(scheme.views))
    if changed and (kept := always_kept(backbone, sites)):
        _logger.warning(
            f'{name} has no DropPath in {", ".join(kept)} (libraries leave it out at '
            'rate 0), so these are always kept, whatever the rate of the scheme. '
            'mmcosub.submodels.register_block makes a block known.'
        )
    if scheme.execution == 'auto':
        _logger.warning(
            f'Not all blocks of {name} are known, so its own DropPath modules run the '
            'submodels, all views as one batch: the results are the same, but no time '
            'is saved. mmcosub.submodels.register_block makes a block known.'
        )
    return sites
