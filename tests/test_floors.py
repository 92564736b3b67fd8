"""The house: each room imports only rooms below it, and CONTRIBUTING says so."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = [
    {'losses', 'submodels', 'files', 'stack', 'log_once', 'arguments', 'names'},
    {'schemes'},
    {'co_trainer'},
    {'registry'},
    {'checkpoints', 'datasets', 'fast'},
    {'config'},
    {'models'},
    {'resuming'},
    {'hooks'},
    {'engine'},
    {'analysis', 'export'},
    {'report'},
    {'cli'},
    {'__main__'},
]
"""From the ground up. Rooms of a floor do not import one another."""
LAZY = {('stack', 'registry'), ('hooks', 'engine')}
"""Imports upward that are meant: the check of the stack loads the registries."""


def rooms() -> dict[str, int]:
    return {room: level for level, floor in enumerate(FLOORS) for room in floor}


def imports() -> set[tuple[str, str, str]]:
    """File, room of the file, and a room that it imports."""
    found = set()
    for path in (ROOT / 'mmcosub').rglob('*.py'):
        parts = path.relative_to(ROOT / 'mmcosub').with_suffix('').parts
        if parts == ('__init__',):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or '']
                if node.module == 'mmcosub':
                    names = [f'mmcosub.{alias.name}' for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == len(parts):
                names = [f'mmcosub.{node.module}'] if node.module else []
            for name in names:
                pieces = name.split('.')
                if pieces[0] == 'mmcosub' and len(pieces) > 1:
                    found.add(('/'.join(parts), parts[0], pieces[1]))
    return found


def test_imports_go_down() -> None:
    level = rooms()
    up = sorted(
        f'{file} imports {there}'
        for file, here, there in imports()
        if here != there and level.get(there, 99) >= level[here]
        if (here, there) not in LAZY
    )
    assert up == []


def test_every_room_has_a_floor() -> None:
    there = {
        path.stem
        for path in (ROOT / 'mmcosub').iterdir()
        if path.name not in ('__init__.py', 'py.typed', '.mim', '__pycache__')
    }
    assert there == set(rooms())
