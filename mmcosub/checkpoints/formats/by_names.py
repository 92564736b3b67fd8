"""Weights for a backbone of no known format, matched by name."""

import importlib

from torch import nn

from mmcosub.checkpoints.grids import inner_network
from mmcosub.checkpoints.prefixes import prefixes_in, under
from mmcosub.checkpoints.reading import State
from mmcosub.checkpoints.resizing import adapt_channels

from .table import plain_name


def by_names(backbone: nn.Module, weights: State) -> tuple[State, list[str]]:
    """Return the weights behind the prefix that fits a backbone's names best.

    Args:
        backbone (nn.Module): The backbone.
        weights (dict[str, Tensor]): Weights of a checkpoint.

    Returns:
        tuple: The weights by the backbone's names, resized by timm if possible, and
        descriptions of the changes.
    """
    own = backbone.state_dict()
    names = {_dotted(name): name for name in own}
    candidates = (under(prefix, weights) for prefix in ('', *prefixes_in(weights)))
    state = by_plain_names(
        max(candidates, key=lambda each: len(names.keys() & {*map(_dotted, each)}))
    )
    done: list[str] = []
    theirs = {_dotted(name): name for name in state}
    wanted = {theirs[k]: own[name] for k, name in names.items() if k in theirs}
    adapt_channels(state, wanted, done)
    state = _resized_by_timm(inner_network(backbone), state, wanted, done)
    return {names.get(_dotted(k), k): v for k, v in state.items()}, done


def _dotted(name: str) -> str:
    """Normalise names, so that ``stem_conv`` of timm equals ``stem.conv``."""
    return plain_name(name).replace('_', '.')


def by_plain_names(weights: State) -> State:
    """Return weights under their names without wrappers' prefixes.

    Raises:
        ValueError: If two weights have the same plain name but different values.
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


def _resized_by_timm(
    network: nn.Module, state: State, wanted: State, done: list[str]
) -> State:
    """Let timm resize the weights that depend on the image size."""
    differ = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    module = type(network).__module__
    if not differ or not module.startswith('timm.models.'):
        return state
    resize = getattr(importlib.import_module(module), 'checkpoint_filter_fn', None)
    if resize is None:
        return state
    try:
        resized = resize(dict(state), network)
    except (RuntimeError, ValueError, KeyError, AttributeError):  # not this network's
        return state
    fits = [k for k in differ if k in resized and resized[k].shape == wanted[k].shape]
    done += [f'{name} resized by timm' for name in fits]
    return resized
