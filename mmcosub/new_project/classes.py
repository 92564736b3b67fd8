"""Classes: which value of the masks is which, and under what name."""

import re
from dataclasses import dataclass
from typing import Any

from .masks import Masks

IGNORE = 'ignore'
IGNORED = 255
_REST = -1


@dataclass
class Classes:
    """Classes of a dataset, with their values in the masks."""

    names: list[str]
    table: dict[int, int]
    """Number of the class by value in the masks; 255 to ignore."""
    palette: list[list[int]]
    """Colours (RGB) of the classes in the masks; [] for those of MMSegmentation."""

    def values(self, number: int) -> list[int]:
        """Return the values of a class."""
        return [value for value, of in self.table.items() if of == number]


def make_classes(masks: Masks, said: str | None) -> Classes:
    """Decide which value of the masks is which class.

    ``said`` is ``--classes``: names in the order of the values, or ``NAME=VALUE`` for
    each value, with ``rest`` for all others. ``ignore`` stands for no label. Without it
    the classes are numbered.
    """
    values = sorted(masks.total)
    pairs = _parse(said) if said else []
    if pairs and pairs[0][1] is not None:
        known = {value for _, value in pairs}
        left = [value for value in values if value not in known]
        others = [value for value in left if value != IGNORED or masks.colours]
        if rest := [name for name, value in pairs if value == _REST]:
            pairs += [(rest[0], value) for value in others or left]
        elif others:
            raise ValueError(
                f'The masks also have {masks.show(*others)}, which --classes does not '
                f'name. Add NAME={masks.show(others[0])}, or {IGNORE}='
                f'{masks.show(others[0])} for pixels without label; NAME=rest or '
                f'{IGNORE}=rest takes all others.'
            )
    else:
        pairs = _in_order(masks, values, [name for name, _ in pairs])
    names = [*dict.fromkeys(name for name, _ in pairs if name != IGNORE)]
    if len(names) < 2:
        raise ValueError(
            f'The masks have the values {masks.show(*values)}, which is '
            f'{len(names)} class without those to ignore; training needs 2 or more. '
            'Background is a class, too.'
        )
    numbers = {IGNORE: IGNORED, **{name: i for i, name in enumerate(names)}}
    table = {value: numbers[name] for name, value in pairs if value != _REST}
    if IGNORED in values and not masks.colours:
        table.setdefault(IGNORED, IGNORED)
    classes = Classes(names, table, [])
    if masks.colours:
        firsts = ((classes.values(i) or [0])[0] for i in range(len(names)))
        classes.palette = [[*first.to_bytes(3, 'big')] for first in firsts]
    return classes


def _parse(said: str) -> list[tuple[str, Any]]:
    """Return names and values of ``--classes``; values are None if not given."""
    found: list[tuple[str, Any]] = []
    keys = []
    for part in said.split(','):
        name, equals, value = (each.strip() for each in part.partition('='))
        colour = re.fullmatch(r'(?:#|0x)([0-9a-fA-F]{6})', value)
        if not name or (equals and not colour and not re.fullmatch(r'\d+|rest', value)):
            raise ValueError(
                f'--classes {part!r} is no NAME or NAME=VALUE, where VALUE is a '
                'number, a colour such as #ff0000, or rest.'
            )
        number: Any = int(colour[1], 16) if colour else None
        if equals and not colour:
            number = _REST if value == 'rest' else int(value)
        found.append((name, number))
        keys.append(value.lower() or name)
    if len({value is None for _, value in found}) > 1:
        raise ValueError('--classes: give NAME=VALUE for every class, or for none.')
    keys = [key for key in keys if key != IGNORE]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ValueError(f'--classes names {", ".join(twice)} twice.')
    return found


def _in_order(
    masks: Masks, values: list[int], names: list[str]
) -> list[tuple[str, int]]:
    """Return names and values in the order of the values."""
    others = [value for value in values if value != IGNORED]
    # 255 is "no label" beside other numbers of classes, but not in masks of 0 and 255.
    if 1 < len(others) < len(values) and not masks.colours:
        fits = others[-1] < len(names) or len(others) == len(names)
        if fits if names else others[-1] < 2 * len(others):
            values = others
    if not names:
        numbers = range(len(values)) if masks.colours else values
        return [(f'class_{n}', v) for n, v in zip(numbers, values, strict=True)]
    if not masks.colours and values[-1] < len(names):
        return [(name, number) for number, name in enumerate(names)]
    if len(values) == len(names):
        return list(zip(names, values, strict=True))
    what = 'colours' if masks.colours else 'values'
    raise ValueError(
        f'The masks have {len(values)} {what} ({masks.show(*values)}), but '
        f'--classes has {len(names)} names. Name each in this order, with {IGNORE!r} '
        f'for pixels without label, or say which is which: '
        f'NAME={masks.show(values[0])},...'
    )
