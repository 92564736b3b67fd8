"""Check of a config file for variables that do not reach the settings they name."""

import ast
import difflib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from .unread import OLD, READ, find_places, refuse, value_at


def check_file(path: Path, cfg: Config) -> None:
    """Raise for variables of a config file that do not reach their settings.

    A base file uses its own value of a variable: in a config with ``_base_``,
    ``crop_size = (64, 64)`` alone changes nothing. For configs inside packages, which
    have some such variables, it is logged as a warning.
    """
    try:
        tree = ast.parse(path.read_text('utf-8'))
        bases = list(_bases(path, tree))
        inherited = {name for base in bases for name in _names(base)}
    except (SyntaxError, ValueError):  # JSON or a template
        return
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    for name in sorted(_assigned(tree) - loaded - READ):
        value = cfg.get(name)
        places = find_places(cfg, name)
        current = [value_at(cfg, place) for place in (*places, OLD.get(name, ''))]
        if value is None or value in current:  # for example in a dumped config
            continue
        if name in OLD and not (name == 'optimizer' and cfg.get('optim_wrapper')):
            remedy = f'It is now {", ".join(places)}.'
        elif name in inherited or (bases and places):
            for base in bases:
                before = Config.fromfile(base).get(name)
                places += [p for p in find_places(cfg, name, before) if p not in places]
            at = ', '.join(places) or 'the settings that it is for'
            remedy = f'_base_ has used its own value: set {at}.'
        elif close := difflib.get_close_matches(name, READ, n=1, cutoff=0.88):
            remedy = f'Did you mean {close[0]!r}?'
        else:
            continue
        said = f'{path}: {name} is not read. {remedy}'
        refuse(said, unless='.mim' in path.parts or bool(cfg.get('custom_imports')))


def configs_of(package: str) -> Path | None:
    """Return the folder of configs in an installed package, which may lack it."""
    spec = importlib.util.find_spec(package)
    places = spec and spec.submodule_search_locations
    return Path(places[0], '.mim', 'configs') if places else None


def _assigned(tree: ast.Module) -> set[str]:
    """Return names that a module assigns plain values to."""
    targets = [t for n in tree.body if isinstance(n, ast.Assign) for t in n.targets]
    return {t.id for t in targets if isinstance(t, ast.Name)} - {'_base_'}


def _names(path: Path) -> set[str]:
    """Return names that a config file or its bases assign."""
    tree = ast.parse(path.read_text('utf-8'))
    return _assigned(tree).union(*(_names(base) for base in _bases(path, tree)))


def _bases(path: Path, tree: ast.Module) -> Iterator[Path]:
    """Return files that a config inherits from, by ``_base_`` or ``read_base()``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '_base_':
            named = ast.literal_eval(node.value)
            for name in [named] if isinstance(named, str) else named:
                package, _, inner = name.rpartition('::')
                folder = configs_of(package) if package else path.parent
                yield (folder or Path()) / inner
        elif isinstance(node, ast.With) and 'read_base' in ast.unparse(node.items[0]):
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.level and each.module:
                    root = path.parents[each.level - 1]
                    yield root.joinpath(*each.module.split('.')).with_suffix('.py')
