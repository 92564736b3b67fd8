"""Table of the formats in which a network's checkpoints exist.

Every format converts to and from mmpretrain's, called "ours" here. A new format is a
table of names and, if values differ too, two functions.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mmcosub.checkpoints.reading import State


def _same(state: State) -> State:
    return state


@dataclass(frozen=True)
class Format:
    """Names and values of one network's weights in one code base.

    Args:
        name (str): Name in messages.
        family (str): Architecture. Formats of one family convert to each other.
        marks (Sequence[str]): Names, or beginnings of names, that identify the format.
            All must occur.
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
    to_ours: Callable[[State], State] = _same
    from_ours: Callable[[State], State] = _same

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
        match = re.match(_pattern(source), name)
        if match:
            return target.format(*match.groups()) + name[match.end() :]
    return name


_FORMATS: list[Format] = []


def register_format(new: Format) -> None:
    """Register a format; the first registered format whose marks fit is taken."""
    _FORMATS.append(new)


def known_formats() -> list[str]:
    """Names of all known formats."""
    return [known.name for known in _FORMATS]


def known_families() -> list[str]:
    """Architectures of all known formats, sorted."""
    return sorted({known.family for known in _FORMATS})


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ValueError: If the name is unknown; lists the valid ones.
    """
    for known in _FORMATS:
        if known.name == name:
            return known
    raise ValueError(f'Unknown format {name!r}. Valid ones: {known_formats()}.')


def detect_format(names: Iterable[str]) -> Format | None:
    """Detect the format of weights by their names; None if unknown."""
    text = '\n'.join(names)
    for known in _FORMATS:
        if all(re.search('(?m)^' + _pattern(mark), text) for mark in known.marks):
            return known
    return None


# Names of the network under a head in Transformers.
_IN_TRANSFORMERS = r'vit|deit|beit|dinov[23]\w*|swin|convnext(v2)?|resnet|segformer'


def plain_name(name: str) -> str:
    """Return a name without the prefixes of wrappers.

    Removes ``backbone.`` of a classifier or segmentor, ``timm_model.`` of
    ``TIMMBackbone``, Transformers' name of the network, and changes by timm's feature
    extractors (``stages_0``).
    """
    name = re.sub(r'^(backbone\.)?(timm_model\.)?(model\.|body\.)?', '', name)
    name = re.sub(rf'^({_IN_TRANSFORMERS})\.', '', name)
    name = re.sub(r'^(layers|stages|stem|s)_(\d+)\.', r'\1.\2.', name)
    # In PiT's original code, pooling layers are outside of the stages.
    return re.sub(
        r'^pools\.(\d)\.', lambda m: f'transformers.{int(m[1]) + 1}.pool.', name
    )
