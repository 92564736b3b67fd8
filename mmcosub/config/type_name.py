from typing import Any

from mmengine.registry import Registry

_STOCK = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'mmcosub')


def type_name(config: Any, registry: Registry | None = None) -> str:
    """Class name of a config's ``type``: a string, a scoped string or the class.

    One in plain Python names the class itself, one of text its name, with or without a
    scope or module. Where those are MMEngine's, MMCV's, MMSegmentation's, MMPretrain's
    or ours, they are left out; another's class keeps them, and is not taken for a stock
    one of the same name.

    Args:
        config (Any): The config. What is none, or has no type, has the name ''.
        registry (Registry, optional): Where what has no scope is looked up, as it can
            be another's in their ``default_scope`` or by ``force=True``. Defaults to
            None, the stock one.

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
