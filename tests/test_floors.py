"""The house: each room imports only rooms below it, and CONTRIBUTING says so."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOORS = [
    {'losses', 'submodels', 'files', 'stack', 'names'},
    {'schemes', 'arguments'},
    {'co_trainer'},
    {'registry'},
    {'checkpoints', 'datasets', 'evaluation', 'fast'},
    {'config'},
    {'new_project'},
    {'models'},
    {'resuming'},
    {'hooks'},
    {'engine'},
    {'analysis'},
    {'export'},
    {'report'},
    {'cli'},
    {'__main__'},
]
"""From the ground up. Rooms of a floor do not import one another."""
LAZY = {('stack', 'registry')}
"""Importing the stack quietly makes our names known to it."""


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


def test_the_map_of_contributing_agrees() -> None:
    """Its rows, from the top, are in the order of the floors."""
    text = (ROOT / 'CONTRIBUTING.md').read_text().partition('```\ntools/')[2]
    level = rooms()
    levels = [
        [
            level[name]
            for name in re.findall(r'(\w+)(?:/|\.py)', row[:40])
            if name in level
        ]
        for row in text.partition('```')[0].splitlines()[1:]
    ]
    flat = [max(row) for row in levels]
    assert flat == sorted(flat, reverse=True)
    mapped = {each for row in levels for each in row}
    assert mapped >= {
        level[name] for name in rooms() if (ROOT / 'mmcosub' / name).is_dir()
    }
