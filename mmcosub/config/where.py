"""Attribution of errors to a setting of the config or a part of the model."""

import difflib
import inspect
import re
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from mmcosub.names import type_name

from .unread import walk

_LONGEST = 300  # some messages contain whole configs
_HINT = ' (--debug shows where)'


def explained(error: BaseException, said: str) -> str:
    """Return one line on an error, with the setting or module it comes from.

    Args:
        error (BaseException): The error, as it was caught.
        said (str): Its message.
    """
    origin = error
    if said.endswith('>') and error.__suppress_context__ and error.__context__:
        origin = error.__context__  # MMEngine has added a hook's address
        said = str(origin)
    steps = list(traceback.walk_tb(origin.__traceback__))
    frames = [frame for frame, _ in steps]
    plain = isinstance(origin, ValueError | OSError | FloatingPointError)
    ours = bool(frames) and frames[-1].f_globals.get('__name__', '')[:4] in (
        'mmco',
        '__ma',
    )
    if (plain and ours and said) or not frames:
        return said if plain else f'{type(error).__name__}: {said}{_HINT}'
    hint = '' if plain or not said else _HINT
    if not said:
        line = traceback.extract_tb(origin.__traceback__)[-1].line or ''
        owner = frames[-1].f_locals.get('self')
        name = type(owner).__name__ if owner is not None else frames[-1].f_code.co_name
        said = f'{name} requires {line.removeprefix("assert ")}'
    elif not plain:
        said = f'{type(origin).__name__}: {said}'
    if len(said) > _LONGEST:
        said = f'{said[:_LONGEST]} ...'
    cfg = next(_configs(frames), None)
    if cfg is not None:
        place, part = _built(cfg, frames) or _used(cfg, frames) or ('', None)
        if place:
            return _about(place, part, frames, said, hint)
    where = _part_of_model(frames)
    return said + (f' (in {where})' if where else '') + hint


def unknown_type(place: str, name: str, registry: Registry) -> str:
    """Return the message for a type that is in no registry.

    Args:
        place (str): Dotted key of the setting.
        name (str): The type.
        registry (Registry): Registry that was searched.
    """
    known = _names(registry)
    near = difflib.get_close_matches(name, known, n=3)
    return f'{place}={name!r} is not known.' + _choices(near, known)


def _about(place: str, part: Any, frames: list[FrameType], said: str, hint: str) -> str:
    """Return the message about a part of the config, with valid names."""
    builds = [f.f_locals for f in frames if f.f_code.co_name == 'build_from_cfg']
    part = part if isinstance(part, dict) else {}
    if builds and 'obj_type' in builds[-1]:
        built, name = builds[-1].get('obj_cls'), builds[-1]['obj_type']
        if built is None and isinstance(name, str):
            key = next((k for k, v in part.items() if v == name), 'type')
            return unknown_type(f'{place}.{key}', name, builds[-1]['registry'])
        wrong = re.search(r"unexpected keyword argument '(\w+)'", said)
        if wrong and wrong[1] in part:
            accepted = _arguments(built)
            near = difflib.get_close_matches(wrong[1], accepted, n=1)
            label = getattr(built, '__name__', name)
            return f'{place}.{wrong[1]}: {label} has no such setting.' + _choices(
                near, accepted
            )
    if re.search(rf'\b{re.escape(place.partition(".")[0])}\b', said):
        return said + hint
    plain = str | int | float | tuple
    given = ', '.join(f'{k}={v!r}' for k, v in part.items()
                      if isinstance(v, plain) and k != '_scope_')  # fmt: skip
    return f'{place}: {said}' + (f' (with {given[:160]})' if given else '') + hint


def _choices(near: list[str], known: list[str]) -> str:
    if near:
        return f' Did you mean {" or ".join(map(repr, near))}?'
    shown = ', '.join(known[:12])
    return f' Valid ones are {shown}{", ..." if len(known) > 12 else ""}.'


def _names(registry: Registry) -> list[str]:
    """Return names in a registry and its parents."""
    parents = _names(registry.parent) if registry.parent is not None else []
    return sorted({*registry.module_dict, *parents})


def _arguments(built: Any) -> list[str]:
    """Return arguments of a function, or of a class and its bases."""
    found: set[str] = set()
    for maker in built.__mro__ if inspect.isclass(built) else [built]:
        try:
            found.update(inspect.signature(maker).parameters)
        except (TypeError, ValueError):  # of C
            continue
    return sorted(found - {'self', 'args', 'kwargs', 'runner', 'optimizer'})


def _configs(frames: list[FrameType]) -> Iterator[Config]:
    """Return whole configs in the local variables of a traceback."""
    for frame in frames:
        known = [frame.f_locals.get(name) for name in ('self', 'runner')]
        found = [vars(each).get('cfg') for each in known if hasattr(each, '__dict__')]
        yield from (
            value
            for value in (frame.f_locals.get('cfg'), *found)
            if isinstance(value, Config)
        )


def _built(cfg: Config, frames: list[FrameType]) -> tuple[str, Any] | None:
    """Return the innermost config part that was being built, with its dotted key."""
    place, part = '', cfg
    for frame in frames:
        code = frame.f_code
        if not code.co_name.lstrip('_').startswith('build'):
            continue
        names = [n for n in code.co_varnames[: code.co_argcount] if n != 'self']
        wanted = frame.f_locals.get(names[0]) if names else None
        if not isinstance(wanted, dict) or wanted is cfg:
            continue
        inside = [e for e in walk(part, place) if e[1] is not part]
        for at, inner in [*inside, *walk(cfg)] if place else inside:
            if isinstance(inner, dict) and _same(inner, wanted):
                place, part = at, inner
                break
    return (place, part) if place else None


def _same(inner: dict, wanted: dict) -> bool:
    """Return True if a config part is what is built, perhaps wrapped or half built."""
    kind, other = inner.get('type'), wanted.get('type')
    rest = {k: v for k, v in inner.items() if k not in ('type', '_scope_')}
    if not rest:
        return kind is not None and kind == other
    plain = any(not isinstance(v, dict | list) for v in rest.values())
    if not (kind == other or plain or str(other).startswith('mmcosub')):
        return False
    try:
        return all(
            wanted[k] == v or (isinstance(v, dict) and not isinstance(wanted[k], dict))
            for k, v in rest.items()
        )
    except (ValueError, KeyError):  # arrays and missing keys
        return False


def _used(cfg: Config, frames: list[FrameType]) -> tuple[str, Any] | None:
    """Return the config part of the innermost object that ran."""
    parts = {type_name(inner): (at, inner) for at, inner in reversed([*walk(cfg)])
             if isinstance(inner, dict)}  # fmt: skip
    for frame in reversed(frames):
        owner = frame.f_locals.get('self')
        if isinstance(owner, nn.Module):
            return None  # reported by its place in the model
        if owner is not None and type(owner).__name__ in parts:
            return parts[type(owner).__name__]
    return None


def _part_of_model(frames: list[FrameType]) -> str:
    """Return the innermost module that ran, e.g. ``model.backbone.stages.0``."""
    owners = [f.f_locals.get('self') for f in frames]
    modules = [m for m in owners if isinstance(m, nn.Module)]
    if not modules:
        return ''
    names = {module: name for name, module in modules[0].named_modules()}
    inner = next((m for m in reversed(modules) if names.get(m)), None)
    return 'model.' + names[inner].removeprefix('module.') if inner is not None else ''
