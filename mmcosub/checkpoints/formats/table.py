"""Table of the formats in which a network's checkpoints exist.

Every format converts to and from mmpretrain's, called "ours" here. A new format is a
table of names and, if values differ too, two functions.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from mmcosub.checkpoints.weights import State

TABLE = 'relative_position_bias_table'


@dataclass(frozen=True)
class Format:
    """Names and values of one network's weights in one code base.

    Args:
        name (str): Name in messages.
        family (str): Architecture. Formats of one family convert to each other.
        marks (Sequence[str]): Names, or beginnings of names, that identify the format.
            All must occur; of alternatives with ``|`` one.
        names (Sequence[tuple[str, str]]): Pairs of the format's name and mmpretrain's,
            where they differ: beginnings up to a dot, ``{}`` for a number. The first
            match is used.
        to_ours (Callable): Conversion of values, after renaming. Defaults to none.
        from_ours (Callable): The inverse, before renaming. Defaults to none.
    """

    name: str
    family: str
    marks: Sequence[str]
    names: Sequence[tuple[str, str]] = ()
    to_ours: Callable[[State], State] = dict
    from_ours: Callable[[State], State] = dict

    def to_our_name(self, name: str) -> str:
        """Translate one name to mmpretrain's."""
        return _translate(name, self.names)

    def to_our_state(self, state: State) -> State:
        """Translate weights to mmpretrain's names and values."""
        return self.to_ours({self.to_our_name(k): v for k, v in state.items()})

    def from_our_state(self, state: State) -> State:
        """Translate weights from mmpretrain's names and values."""
        back = [(ours, theirs) for theirs, ours in self.names]
        return {_translate(k, back): v for k, v in self.from_ours(state).items()}


def _pattern(template: str) -> str:
    return re.escape(template).replace(r'\{\}', r'(\d+)') + r'(?=\.|$)'


def _translate(name: str, names: Sequence[tuple[str, str]]) -> str:
    for source, target in names:
        if match := re.match(_pattern(source), name):
            return target.format(*match.groups()) + name[match.end() :]
    return name


def family(name: str, *rows: tuple) -> list[Format]:
    """Make the formats of an architecture from the other arguments of :class:`Format`.

    Marks, and pairs ``theirs=ours`` of names, are separated by spaces. Behind
    ``theirs=ours:`` are those of a module's parts, up to the end of the line. ``*``
    stands for a number.
    """
    return [
        Format(row[0], name, row[1].split(), _pairs(*row[2:3]), *row[3:])
        for row in rows
    ]


def _pairs(names: str = '') -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for line in names.replace('*', '{}').splitlines():
        outer, _, parts = line.rpartition(':')
        theirs, _, ours = outer.strip().partition('=')
        for part in parts.split():
            a, _, b = part.partition('=')
            pairs.append((f'{theirs}.{a}'.lstrip('.'), f'{ours}.{b}'.lstrip('.')))
    return pairs


FORMATS: dict[str, Format] = {}
"""All formats by name; the first whose marks fit is taken."""


def register_format(new: Format) -> None:
    """Register a format, after the others."""
    FORMATS[new.name] = new


def known_formats() -> list[str]:
    """Names of all known formats."""
    return list(FORMATS)


def detect_format(names: Iterable[str]) -> Format | None:
    """Detect the format of weights by their names; None if unknown."""
    text = '\n'.join(names)
    for known in FORMATS.values():
        marks = ('|'.join(map(_pattern, mark.split('|'))) for mark in known.marks)
        if all(re.search(f'(?m)^({mark})', text) for mark in marks):
            return known
    return None


# Names of the network under a head in Transformers.
_IN_TRANSFORMERS = r'vit|deit|dinov[23]\w*|swin|convnext(v2)?|segformer'


def plain_name(name: str) -> str:
    """Return a name without the prefixes of wrappers.

    Removes ``backbone.`` of a classifier or segmentor, ``timm_model.`` of
    ``TIMMBackbone``, Transformers' name of the network, and changes by timm's feature
    extractors (``stages_0``).
    """
    name = re.sub(r'^(backbone\.)?(timm_model\.)?(model\.|body\.)?', '', name)
    name = re.sub(rf'^({_IN_TRANSFORMERS})\.', '', name)
    return re.sub(r'^(layers|stages|stem|s)_(\d+)\.', r'\1.\2.', name)


def joined(state: State, parts: Sequence[str], whole: str) -> State:
    """Concatenate projections, such as q, k and v, under the name ``whole``.

    One without a bias counts as one with a bias of 0 if another has one.
    """
    result: State = {}
    for name, value in state.items():
        match = re.fullmatch(rf'(.+\.)({"|".join(parts)})\.(weight|bias)', name)
        if not match:
            result[name] = value
        elif (key := f'{match[1]}{whole}{match[3]}') not in result:
            there = [f'{match[1]}{part}.' for part in parts]
            sizes = {
                p: len(state[f'{p}weight']) for p in there if f'{p}weight' in state
            }
            values = (
                state.get(f'{part}{match[3]}', value.new_zeros(size))
                for part, size in sizes.items()
            )
            result[key] = torch.cat([*values])
    return result


def with_indices(state: State, tokens: int = 0) -> State:
    """Add the index of each table of relative positions; mmpretrain has it as a buffer.

    The last ``tokens`` entries of a table, 0 or BEiT's 3, are those of the class token:
    to patches, from patches, and to itself. Tables of other than square windows get no
    index.
    """
    state = dict(state)
    for name in [name for name in state if name.endswith(TABLE)]:
        size = len(state[name]) - tokens
        side = math.isqrt(size)
        if side**2 != size:
            continue
        width = (side + 1) // 2
        patches = torch.arange(width**2)
        places = patches // width * side + patches % width
        index = places[:, None] - places + (width - 1) * (side + 1)
        if tokens:
            index = torch.nn.functional.pad(index, (1, 0, 1, 0))
            index[0], index[:, 0], index[0, 0] = size, size + 1, size + 2
        state[name.replace(TABLE, 'relative_position_index')] = index
    return state
