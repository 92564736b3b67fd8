"""Weights for a backbone of no known format: those that have its names."""

import importlib

from torch import nn

from .reading import State
from .resizing import adapt_channels

# Where whole models, and trainings of them, keep the network.
_PREFIXES = ('', 'backbone.', 'model.', 'encoder.', 'teacher.', 'student.')


def by_names(backbone: nn.Module, weights: State) -> tuple[State, list[str]]:
    """Return the weights behind the prefix that fits a backbone's names best.

    Args:
        backbone (nn.Module): The backbone.
        weights (dict[str, Tensor]): Weights of a checkpoint.

    Returns:
        tuple: The weights, resized by timm where it can, and what was done, in words.
    """
    own = backbone.state_dict()
    candidates = [
        {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        for start in _PREFIXES
    ]
    state = max(candidates, key=lambda each: len(own.keys() & each.keys()))
    done: list[str] = []
    adapt_channels(state, own, done)
    return _resized_by_timm(backbone, state, done), done


def _resized_by_timm(backbone: nn.Module, state: State, done: list[str]) -> State:
    """Have timm resize what its networks have for one size of images."""
    own = backbone.state_dict()
    differ = [k for k in own if k in state and state[k].shape != own[k].shape]
    name = type(backbone).__module__
    if not differ or not name.startswith('timm.models.'):
        return state
    resize = getattr(importlib.import_module(name), 'checkpoint_filter_fn', None)
    if resize is None:
        return state
    try:
        resized = resize(dict(state), backbone)
    except (RuntimeError, ValueError, KeyError, AttributeError):  # another network's
        return state
    done += [f'{k} resized by timm' for k in differ if k in resized]
    return resized
