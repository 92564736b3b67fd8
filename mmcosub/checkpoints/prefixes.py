"""Search for a network inside a larger model by the prefix of its names."""

from collections import Counter
from collections.abc import Iterable

from mmcosub.checkpoints.formats.table import detect_format, plain_name

from .weights import State

# Usual prefixes of the network in models and training checkpoints. The first that
# yields a known format is used.
_USUAL = (
    'backbone.',
    'teacher.backbone.',
    'student.backbone.',
    'teacher.',
    'student.',
    'encoder.',
    'visual.trunk.',
    'visual.',
)
_DEPTH = 3


def prefixes_in(names: Iterable[str]) -> list[str]:
    """Return common prefixes of the names, the shortest and most frequent first.

    Args:
        names (Iterable[str]): Names of weights.
    """
    counts: Counter[str] = Counter()
    for name in names:
        parts = name.split('.')[:-1][:_DEPTH]
        counts.update('.'.join(parts[: i + 1]) + '.' for i in range(len(parts)))
    found = [prefix for prefix, count in counts.items() if count > 1]
    return sorted(found, key=lambda each: (each.count('.'), -counts[each]))


def network_in(weights: State, with_head: bool = False) -> State:
    """Return the weights of a network of known format, without the prefix.

    Args:
        weights (dict[str, Tensor]): Weights of a model or of its training.
        with_head (bool): Also return a head next to ``backbone.``. Defaults to False.

    Returns:
        dict[str, Tensor]: All weights if no prefix yields a known format.

    Raises:
        ValueError: If there are several networks, none under a usual name.
    """
    for prefix in ('', *_USUAL) if with_head else (*_USUAL, ''):
        part = under(prefix, weights)
        if part and (prefix == 'backbone.' or _is_known(part)):
            return part
    for depth in range(1, _DEPTH + 1):
        found = {
            prefix: part
            for prefix in prefixes_in(weights)
            if prefix.count('.') == depth and _is_known(part := under(prefix, weights))
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


def _is_known(weights: State) -> bool:
    return detect_format(map(plain_name, weights)) is not None
