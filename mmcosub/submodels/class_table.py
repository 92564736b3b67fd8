"""Classes by name, to build objects from configs."""

import pkgutil
from collections.abc import Callable
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
        """Build an object of a type and its arguments, or of a type's name.

        Raises a ``ValueError`` if there is no such class.
        """
        arguments = dict(type=cfg) if isinstance(cfg, str) else dict(cfg)
        arguments.pop('_scope_', None)  # added by MMEngine to configs of `mmcosub::`
        name = arguments.pop('type', None)
        cls = self.get(name) if isinstance(name, str) else name
        if cls is None:
            raise ValueError(
                f'Unknown {self.subject} {name!r}. Valid types: '
                f'{sorted(self.module_dict)}.'
            )
        return cls(**arguments)
