"""Attribution of errors to a setting of the config or a part of the model."""

import re
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from torch import nn

from mmcosub.names import did_you_mean, type_name
from mmcosub.submodels.class_table import arguments_of

from .unread import walk

_LONGEST = 500  # some messages contain whole configs
_HINT = ' (--debug shows where)'


def explained(error: BaseException, said: str) -> str:
    """Return one line on an error and its message, with the setting it comes from."""
    origin = error
    if said.endswith('>') and error.__suppress_context__ and error.__context__:
        origin = error.__context__  # MMEngine has added a hook's address
        said = str(origin)
    frames = [frame for frame, _ in traceback.walk_tb(origin.__traceback__)]
    raised_in = frames[-1].f_globals.get('__name__', '') if frames else ''
    ours = raised_in.startswith(('mmcosub', '__main__'))
    plain = isinstance(origin, ValueError | OSError | FloatingPointError)
    plain = plain or (ours and isinstance(origin, ImportError))  # what to install
    if not frames or (plain and ours and said):
        return said if plain else f'{type(error).__name__}: {said}{_HINT}'
    hint = '' if plain or not said else _HINT
    if not said:
        line = traceback.extract_tb(origin.__traceback__)[-1].line or ''
        owner = frames[-1].f_locals.get('self')
        name = type(owner).__name__ if owner is not None else frames[-1].f_code.co_name
        said = f'{name} requires {line.removeprefix("assert ")}'
        if line.startswith('raise '):
            said = f'{type(origin).__name__} in {name}'
    elif not plain:
        said = f'{type(origin).__name__}: {said}'
    if len(said) > _LONGEST:
        said = f'{said[:_LONGEST]} ...'
    cfg = next(_configs(frames), None)
    if cfg is not None and (found := _built(cfg, frames) or _used(cfg, frames)):
        return _about(*found, frames, said, hint)
    where = _part_of_model(frames)
    return said + (f' (in {where})' if where else '') + hint


def unknown_type(place: str, name: str, registry: Registry) -> str:
    """Return the message for a type of a setting that is in no registry."""
    known: set[str] = set()
    above: Registry | None = registry
    while above is not None:
        known.update(above.module_dict)
        above = above.parent
    return f'{place}={name!r} is not known.' + _choices(name, known, 3)


def _about(place: str, part: Any, frames: list[FrameType], said: str, hint: str) -> str:
    """Return the message about a part of the config, with valid names."""
    builds = [f.f_locals for f in frames if f.f_code.co_name == 'build_from_cfg']
    if builds and 'obj_type' in builds[-1]:
        built, name = builds[-1].get('obj_cls'), builds[-1]['obj_type']
        if built is None and isinstance(name, str):
            key = next((k for k, v in part.items() if v == name), 'type')
            return unknown_type(f'{place}.{key}', name, builds[-1]['registry'])
        wrong = re.search(r"unexpected keyword argument '(\w+)'", said)
        if wrong and wrong[1] in part:
            accepted = {*arguments_of(built)} - {
                'runner',
                'optimizer',
                'params',
                'defaults',
            }
            label = getattr(built, '__name__', name)
            return f'{place}.{wrong[1]}: {label} has no such setting.' + _choices(
                wrong[1], accepted, 1
            )
    if re.search(rf'\b{re.escape(place.partition(".")[0])}\b', said):
        return said + hint
    plain = str | int | float | tuple
    given = ', '.join(f'{k}={v!r}' for k, v in part.items()
                      if isinstance(v, plain) and k != '_scope_')  # fmt: skip
    return f'{place}: {said}' + (f' (with {given[:160]})' if given else '') + hint


def _choices(name: str, known: Iterable[str], most: int) -> str:
    """Return the names that are like a wrong one, or else the valid ones."""
    known = sorted(known)
    more = ', ...' if len(known) > 12 else ''
    return did_you_mean(name, known, most) or (
        f' Valid ones are {", ".join(known[:12])}{more}.'
    )


def _configs(frames: list[FrameType]) -> Iterator[Config]:
    """Return whole configs in the local variables of a traceback."""
    for frame in frames:
        owners = [frame.f_locals.get(name) for name in ('self', 'runner')]
        found = [vars(each).get('cfg') for each in owners if hasattr(each, '__dict__')]
        for value in (frame.f_locals.get('cfg'), *found):
            if isinstance(value, Config):
                yield value


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
