"""Search for a network in a file by the names of its weights."""

import re
from collections import Counter
from collections.abc import Iterable

from mmengine.logging import print_log
from torch import nn

from .adapt import adapt_channels
from .formats.table import detect_format, plain_name
from .positions import Grid, adapt_positions, grid_of
from .weights import State

# Usual prefixes of the network in models and training checkpoints. The first that
# yields a known format is used.
_USUAL = (
    'backbone.', 'teacher.backbone.', 'student.backbone.', 'teacher.', 'student.',
    'encoder.', 'visual.',
)  # fmt: skip
_DEPTH = 3
# Parts of one network, as those of Swin V2, whose blocks resemble a ViT.
_STAGE = re.compile(r'(blocks|layers|stages)\.\d+\.$')


def prefixes_in(names: Iterable[str]) -> list[str]:
    """Return common prefixes of names, the shortest and most frequent first."""
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split('.')[:-1][:_DEPTH]
        counts.update('.'.join(parts[: i + 1]) + '.' for i in range(len(parts)))
    found = [prefix for prefix, count in counts.items() if count > 1]
    return sorted(found, key=lambda each: (each.count('.'), -counts[each]))


def network_in(weights: State, with_head: bool = False) -> State:
    """Return the weights of a network of known format, without the prefix.

    All weights if no prefix yields one; raises if several do, and none is a usual one.
    ``with_head`` keeps a head next to ``backbone.``.
    """

    def networks(prefixes: Iterable[str]) -> dict[str, State]:
        parts = {prefix: under(prefix, weights) for prefix in prefixes}
        return {
            prefix: part
            for prefix, part in parts.items()
            if detect_format(map(plain_name, part)) or (part and prefix == 'backbone.')
        }

    found = networks(('', *_USUAL) if with_head else (*_USUAL, ''))
    for depth in range(1, _DEPTH + 1):
        found = found or networks(
            prefix
            for prefix in prefixes_in(weights)
            if prefix.count('.') == depth and not _STAGE.search(prefix)
        )
    return found[_chosen(found)] if found else weights


def _chosen(found: Iterable[str]) -> str:
    """Return the prefix to take; raise if several are alike and none is usual."""
    found = [*found]
    usual = [prefix for prefix in found if prefix in ('', *_USUAL)]
    taken = [*usual, *found][0]
    others = [p for p in found if not p.startswith(taken) and not taken.startswith(p)]
    if others:
        said = f'The checkpoint has several networks, under {", ".join(found)}'
        how = "by model.backbone.init_cfg=dict(type='Pretrained', checkpoint=..., "
        if not usual:
            raise ValueError(f'{said}: choose one {how}prefix={taken!r}).')
        print_log(f'{said}. Taken: {taken}; others {how}prefix=...).', 'current')
    return taken


def under(prefix: str, weights: State) -> State:
    """Return the weights under a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def by_plain_names(weights: State) -> State:
    """Return weights under their names without wrappers' prefixes.

    Raises a ``ValueError`` if two weights of one plain name have different values.
    """
    plain: dict[str, str] = {}
    for name, value in weights.items():
        first = plain.setdefault(plain_name(name), name)
        if first != name and not value.equal(weights[first]):
            raise ValueError(
                f'The checkpoint has {first} and {name}, with other values, for one '
                'weight of the network. Say which of them: --cfg-options '
                'model.backbone.init_cfg.prefix=PREFIX.'
            )
    return {name: weights[first] for name, first in plain.items()}


def by_names(
    backbone: nn.Module, weights: State, grid: Grid | None
) -> tuple[State, list[str]]:
    """Return the weights behind the prefix that fits a backbone's names best.

    They have the backbone's names. The second value describes the changes. ``grid`` is
    the checkpoint's (height, width) of positions, if known.
    """
    own = backbone.state_dict()
    names = {_dotted(name): name for name in own}
    prefixes = ('', *_USUAL, *prefixes_in(weights))
    parts = {prefix: under(prefix, weights) for prefix in prefixes}
    fits = {p: len(names.keys() & {*map(_dotted, part)}) for p, part in parts.items()}
    most = max(fits.values())
    best = [prefix for prefix in parts if fits[prefix] == most]
    done: list[str] = []
    plain = by_plain_names(parts[_chosen(best if 2 * most > len(names) else best[:1])])
    wanted = {plain_name(name): value for name, value in own.items()}
    shapes = [s['pos_embed'].shape for s in (plain, wanted) if 'pos_embed' in s]
    if len({*shapes}) == 2 and len({*map(len, shapes)}) == 1:
        plain = adapt_positions(plain, wanted, grid, grid_of(backbone), done)
    state = {names.get(_dotted(name), name): v for name, v in plain.items()}
    adapt_channels(state, own, done)
    return state, done


def _dotted(name: str) -> str:
    """Normalise names, so that ``stem_conv`` of timm equals ``stem.conv``."""
    return plain_name(name).replace('_', '.')
