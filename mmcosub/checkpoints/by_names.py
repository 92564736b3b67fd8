"""Weights for a backbone of no known format: those that have its names."""

import importlib

from torch import nn

from .formats import plain_name
from .grids import inner_network
from .prefixes import prefixes_in, under
from .reading import State
from .resizing import adapt_channels


def by_names(backbone: nn.Module, weights: State) -> tuple[State, list[str]]:
    """Return the weights behind the prefix that fits a backbone's names best.

    Args:
        backbone (nn.Module): The backbone.
        weights (dict[str, Tensor]): Weights of a checkpoint.

    Returns:
        tuple: The weights by the backbone's names, resized by timm where it can, and
        what was done, in words.
    """
    own = backbone.state_dict()
    names = {plain_name(name): name for name in own}
    if len(names) < len(own):
        names = {name: name for name in own}
    candidates = [
        {k if k in names else plain_name(k): v for k, v in under(each, weights).items()}
        for each in ('', *prefixes_in(weights))
    ]
    state = max(candidates, key=lambda each: len(names.keys() & each.keys()))
    wanted = {plain: own[name] for plain, name in names.items()}
    done: list[str] = []
    adapt_channels(state, wanted, done)
    state = _resized_by_timm(inner_network(backbone), state, wanted, done)
    return {names.get(k, k): v for k, v in state.items()}, done


def _resized_by_timm(
    network: nn.Module, state: State, wanted: State, done: list[str]
) -> State:
    """Have timm resize what its networks have for one size of images."""
    differ = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    module = type(network).__module__
    if not differ or not module.startswith('timm.models.'):
        return state
    resize = getattr(importlib.import_module(module), 'checkpoint_filter_fn', None)
    if resize is None:
        return state
    try:
        resized = resize(dict(state), network)
    except (RuntimeError, ValueError, KeyError, AttributeError):  # of another network
        return state
    fits = [k for k in differ if k in resized and resized[k].shape == wanted[k].shape]
    done += [f'{name} resized by timm' for name in fits]
    return resized
