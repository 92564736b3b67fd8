"""Classes by name, to build objects from configs."""

import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

_Class = TypeVar('_Class', bound=type)


class ClassTable:
    """Classes by name, built from configs such as ``dict(type='Cosub', weight=0.5)``.

    A type is a class, its full dotted name, or its name: ``'mmcosub.AugPath'``,
    ``'AugPath'`` or ``'augpath'``, underscores aside. ``subject`` names the classes.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.module_dict: dict[str, type] = {}
        self._by_plain_name: dict[str, type] = {}

    def register_module(self, *others: str) -> Callable[[_Class], _Class]:
        """Return a decorator that adds a class by its name and lower-case others."""

        def register(cls: _Class) -> _Class:
            self.module_dict[cls.__name__] = cls
            names = cls.__name__.lower(), *others
            self._by_plain_name.update(dict.fromkeys(names, cls))
            return cls

        return register

    def get(self, name: str) -> type | None:
        """Return the class of a name or a full dotted name, or None."""
        plain = name.removeprefix('mmcosub.').replace('_', '').lower()
        if plain in self._by_plain_name or '.' not in name:
            return self._by_plain_name.get(plain)
        try:
            return pkgutil.resolve_name(name)
        except (ImportError, AttributeError):
            return None

    def build(self, cfg: Any) -> Any:
        """Build an object of a type and its arguments, or of a type alone.

        An object is returned as it is. Raises a ``ValueError`` if there is no such
        class or argument.
        """
        if not isinstance(cfg, str | type | Mapping | None):
            return cfg
        arguments = dict(cfg) if isinstance(cfg, Mapping) else dict(type=cfg)
        arguments.pop('_scope_', None)  # added by MMEngine to configs of `mmcosub::`
        name = arguments.pop('type', None)
        cls = self.get(name) if isinstance(name, str) else name
        if cls is None:
            raise ValueError(
                f'Unknown {self.subject} {name!r}. Valid types: '
                f'{sorted(self.module_dict)}.'
            )
        return built(cls, arguments)


def arguments_of(kind: Any) -> dict[str, Any]:
    """Return types of arguments by name, of a function, or a class and its bases."""
    found: dict[str, Any] = {}
    for maker in reversed(kind.__mro__) if inspect.isclass(kind) else [kind]:
        try:
            parameters = inspect.signature(maker).parameters.values()
        except (TypeError, ValueError):  # of C
            continue
        try:
            hints = typing.get_type_hints(getattr(maker, '__init__', maker))
        except (NameError, TypeError):  # imported for type checkers only
            hints = {}
        for each in parameters:
            if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                found[each.name] = hints.get(each.name, Any)
    return found


def built(cls: Any, arguments: Mapping[str, Any]) -> Any:
    """Return an object of a class, or raise a ``ValueError`` for wrong arguments."""
    try:
        return cls(**arguments)
    except TypeError as error:
        valid = sorted(arguments_of(cls))
        wrong = sorted({*arguments} - {*valid})
        if not wrong:
            raise
        raise ValueError(
            f'{cls.__name__} has no argument {wrong}. Valid ones: {valid}.'
        ) from error
