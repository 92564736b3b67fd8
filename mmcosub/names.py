"""Schemes, models and types by name. Imports neither torch nor MMEngine."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mmcosub

RUNNER = 'mmcosub.CoTrainingRunner'
WRAPPERS = {
    'EncoderDecoder': 'mmcosub.CoTrainingEncoderDecoder',
    'CascadeEncoderDecoder': 'mmcosub.CoTrainingCascadeEncoderDecoder',
    'ImageClassifier': 'mmcosub.CoTrainingImageClassifier',
    'TimmClassifier': 'mmcosub.CoTrainingTimmClassifier',
}

FACTS = 'facts.json'
"""File in a run's folder about how it was started."""

_STOCK = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmcosub')


def packaged(name: str) -> Path:
    """Folder that comes with the package: ``configs`` or ``tools``."""
    package = Path(mmcosub.__file__).parent
    shipped = package / '.mim' / name
    # A checkout made without symbolic links has them only beside the package.
    return shipped if shipped.is_dir() else package.parent / name


def packaged_configs() -> Path:
    """Folder of the configs that come with the package."""
    return packaged('configs')


def list_schemes() -> dict[str, Path]:
    """The schemes that come with the package: config fragment by name."""
    folder = packaged_configs() / '_base_' / 'schemes'
    return {path.stem: path for path in sorted(folder.glob('*.py'))}


def type_name(config: Any, registry: Any = None) -> str:
    """Class name of a config's ``type``: a string, a scoped string or the class.

    Scopes and modules of OpenMMLab's packages and mmcosub are removed. Other classes
    keep theirs, so that they are not taken for an upstream class of the same name.

    Args:
        config (Any): The config. The name is '' if it is not a dict or has no type.
        registry (Registry, optional): Registry for names without a scope, which a
            user's ``default_scope`` or ``force=True`` can redefine. Defaults to None:
            taken as upstream's.

    Example:
        >>> type_name(dict(type='mmengine.CheckpointHook'))
        'CheckpointHook'
        >>> type_name(dict(type='theirs.CheckpointHook'))
        'theirs.CheckpointHook'
    """
    kind = config.get('type') if isinstance(config, dict) else None
    if kind is None:
        return ''
    if isinstance(kind, str) and registry is not None:
        with registry.switch_scope_and_registry(config.get('_scope_')) as scope:
            kind = scope.get(kind) or kind
    if not isinstance(kind, str):
        kind = f'{getattr(kind, "__module__", "")}.{getattr(kind, "__name__", kind)}'
    package, _, name = kind.partition('.')
    return name.rpartition('.')[2] if package in _STOCK else kind


def did_you_mean(
    name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6
) -> str:
    """Return a question for the names most like a wrong one, after a space, or ''."""
    near = difflib.get_close_matches(name, sorted(known), most, cutoff)
    return f' Did you mean {" or ".join(map(repr, near))}?' if near else ''


def lower_is_better(metric: str) -> bool:
    """Return True for a metric of ``ProbabilityMetric``, with a prefix or not."""
    return metric.rpartition('/')[2] in ('NLL', 'ECE', 'Brier')
