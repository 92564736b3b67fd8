"""What no scheme can train by, those of one's own included."""

from collections.abc import Sequence

from mmcosub.submodels import Site

from .base import Scheme


def refuse_rates(scheme: Scheme, sites: Sequence[Site]) -> None:
    """Refuse drop-path rates under which no branch would ever be kept.

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


def refuse_unasked(scheme: Scheme) -> None:
    """Refuse methods of a scheme that its views, as they run, never ask for.

    Args:
        scheme (Scheme): The scheme, prepared for its model.

    Raises:
        ValueError: If it says what a view does alone, and none runs alone, or what all
            views lose together, and they never run together.
    """
    passes = [len(views) for views in scheme.passes]
    name = type(scheme).__name__
    if _overrides(scheme, 'disturb') and 1 not in passes:
        raise ValueError(
            f'{name}.disturb is for a view that runs alone, and the views of {name} '
            'run together here. Set joint = False in the class; a scheme of depths '
            'takes lean=True.'
        )
    if _overrides(scheme, 'co_training_loss') and scheme.views not in passes:
        raise ValueError(
            f'{name}.co_training_loss is of all views at once, and the views of {name} '
            'run one after another here. Override student_loss, which is of one view, '
            'or set joint = True in the class.'
        )


def _overrides(scheme: Scheme, name: str) -> bool:
    return getattr(type(scheme), name) is not getattr(Scheme, name)
