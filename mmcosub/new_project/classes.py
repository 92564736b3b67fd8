"""Classes: which value of the masks is which, and under what name."""

import re
from dataclasses import dataclass

from .masks import Masks

IGNORE = 'ignore'
IGNORED = 255


@dataclass
class Classes:
    """Classes of a dataset, with the value of each."""

    names: list[str]
    values: list[int]
    table: dict[int, int]
    """Number of the class by value in the masks; 255 to ignore."""
    palette: list[list[int]]
    """Colours (RGB) of the classes in the masks; [] for those of MMSegmentation."""


def make_classes(masks: Masks, said: str | None) -> Classes:
    """Decide which value of the masks is which class.

    ``said`` is ``--classes``: names in the order of the values, or each with its value,
    ``NAME=VALUE``. ``ignore`` stands for no label. Without it the classes are numbered.
    """
    values = sorted(masks.total)
    named = _parse(said) if said else []
    pairs = [(name, value) for name, value in named if value is not None]
    if pairs:
        known = {value for _, value in pairs}
        if not masks.colours:
            known.add(IGNORED)
        if left := [value for value in values if value not in known]:
            raise ValueError(
                f'The masks also have {masks.show(*left)}, which --classes does not '
                f'name. Add NAME={masks.show(left[0])}, or '
                f'{IGNORE}={masks.show(left[0])} for pixels without label.'
            )
    else:
        pairs = _in_order(masks, values, [name for name, _ in named])
    kept = [(name, value) for name, value in pairs if name != IGNORE]
    if len(kept) < 2:
        raise ValueError(
            f'The masks have the values {masks.show(*values)}, which is '
            f'{len(kept)} class without those to ignore; training needs 2 or more. '
            'Background is a class, too.'
        )
    table = {value: number for number, (_, value) in enumerate(kept)}
    table |= {value: IGNORED for name, value in pairs if name == IGNORE}
    if IGNORED in values and not masks.colours:
        table.setdefault(IGNORED, IGNORED)
    palette = [[*v.to_bytes(3, 'big')] for _, v in kept if masks.colours]
    return Classes([n for n, _ in kept], [v for _, v in kept], table, palette)


def _parse(said: str) -> list[tuple[str, int | None]]:
    """Return names and values of ``--classes``."""
    found: list[tuple[str, int | None]] = []
    for part in said.split(','):
        name, equals, value = (each.strip() for each in part.partition('='))
        colour = re.fullmatch(r'(?:#|0x)([0-9a-fA-F]{6})', value)
        if not name or (equals and not colour and not value.isdecimal()):
            raise ValueError(
                f'--classes {part!r} is no NAME or NAME=VALUE, where VALUE is a number '
                'or a colour such as #ff0000.'
            )
        number = int(colour[1], 16) if colour else int(value) if equals else None
        found.append((name, number))
    names = [name for name, _ in found if name != IGNORE]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f'--classes names {", ".join(twice)} twice.')
    if len({value is None for _, value in found}) > 1:
        raise ValueError('--classes: give NAME=VALUE for every class, or for none.')
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
