from typing import Any

from mmengine.registry import Registry

_STOCK = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmcosub')


def type_name(config: Any, registry: Registry | None = None) -> str:
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
