"""Search for a network in a file by the names of its weights."""

import re
from collections import Counter
from collections.abc import Iterable

import torch.nn.functional as F
from torch import nn

from .adapt import adapt_channels
from .formats.table import detect_format, plain_name
from .positions import Grid, adapt_positions, by, grid_of
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
    for prefix in ('', *_USUAL) if with_head else (*_USUAL, ''):
        part = under(prefix, weights)
        if part and (prefix == 'backbone.' or detect_format(map(plain_name, part))):
            return part
    for depth in range(1, _DEPTH + 1):
        found = {
            prefix: part
            for prefix in prefixes_in(weights)
            if prefix.count('.') == depth
            and not _STAGE.search(prefix)
            and detect_format(map(plain_name, part := under(prefix, weights)))
        }
        if len(found) > 1:
            raise ValueError(
                f'The checkpoint has several networks, under {", ".join(found)}: '
                "choose one by model.backbone.init_cfg=dict(type='Pretrained', "
                f'checkpoint=..., prefix={next(iter(found))!r}).'
            )
        if found:
            return found.popitem()[1]
    return weights


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
    candidates = (under(prefix, weights) for prefix in ('', *prefixes_in(weights)))
    best = max(candidates, key=lambda each: len(names.keys() & {*map(_dotted, each)}))
    plain = by_plain_names(best)
    state = {names.get(_dotted(name), name): v for name, v in plain.items()}
    done: list[str] = []
    adapt_channels(state, own, done)
    return _with_positions(state, own, grid, grid_of(backbone), done), done


def _with_positions(
    state: State, own: State, source: Grid | None, target: Grid | None, done: list[str]
) -> State:
    """Resize ``pos_embed``, a map (1, C, H, W) or tokens (1, N, C), if need be."""
    plain, wanted = ({plain_name(k): v for k, v in s.items()} for s in (state, own))
    given, goal = plain.get('pos_embed'), wanted.get('pos_embed')
    if given is None or goal is None or given.shape == goal.shape:
        return state
    if given.ndim == goal.ndim == 4 and given.shape[1] == goal.shape[1]:
        size = [*goal.shape[2:]]
        plain['pos_embed'] = F.interpolate(given.float(), size, mode='bicubic')
        done.append(f'positions resized from {by(given)} to {by(goal)}')
    elif given.ndim == goal.ndim == 3 and given.shape[2] == goal.shape[2]:
        plain = adapt_positions(plain, wanted, source, target, done)
    return {name: plain[plain_name(name)] for name in state}


def _dotted(name: str) -> str:
    """Normalise names, so that ``stem_conv`` of timm equals ``stem.conv``."""
    return plain_name(name).replace('_', '.')
