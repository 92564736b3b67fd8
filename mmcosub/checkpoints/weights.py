"""Search for the sets of weights in a checkpoint, and choice of one."""

import re
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

State = dict[str, Tensor]

# Keys of averaged and trained weights in files, the usual ones first.
_KEYS = {
    'ema': (
        'state_dict_ema', 'model_ema', 'ema_state_dict', 'model_ema_state_dict', 'ema',
        'ema_model', 'module_ema', 'params_ema', 'teacher',
    ),
    'model': (
        'state_dict', 'model', 'module', 'model_state_dict', 'net', 'network',
        'params', 'weights', 'student',
    ),
}  # fmt: skip
_ALL_KEYS = sum(_KEYS.values(), ())
_NO_WEIGHTS = (
    *('optimizer', 'message_hub', 'param_schedulers', 'meta', 'co_training_extras'),
)
# Parts of names from torch.compile, DDP, FSDP and activation checkpointing.
_INNER = '_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module'
_WRAPPERS = re.compile(rf'^((module|_forward_module|{_INNER})\.)+|(?<=\.)({_INNER})\.')
# Buffers that a network computes for its own size.
_COMPUTED = (
    'relative_position_index', 'relative_coords_table', 'attn_mask', 'freqs_cos',
    'freqs_sin',
)  # fmt: skip


def sets_of_weights(checkpoint: Any) -> dict[str, State]:
    """Find all sets of weights in a checkpoint, without wrappers' prefixes.

    The keys are paths of keys in the file, such as ``'model.state_dict'``, or ``''``
    for a plain state dict.
    """
    found: dict[str, State] = {}
    _collect(checkpoint, (), found)
    return found


def select_weights(
    checkpoint: Any,
    which: str | None = None,
    filename: str = 'The checkpoint',
    option: str = '--backbone-weights',
) -> tuple[State, str]:
    """Choose the weights of a checkpoint to start from.

    Averaged weights are preferred to trained ones, as in timm, and the log says so.

    Args:
        checkpoint (Any): Content of the file.
        which (str, optional): 'ema' (averaged), 'model' (trained) or the name of a set
            in the file. Defaults to None: the average if there is one.
        filename (str): Name of the file, for messages.
        option (str): Name of the user's option for ``which``, for messages.

    Returns:
        tuple: The weights, half precision converted to float32, and the name of the set
        in the file.

    Raises:
        ValueError: If there are none, or not the requested ones; lists the available
            sets.
    """
    found = sets_of_weights(checkpoint)
    weights, name = _chosen(found, which, filename, option)
    if which is None:
        rest = f'{option} chooses another (ema, model or its name)'
        _log_choice(found, name, filename, rest)
    full = {
        key: value.float()
        if value.is_floating_point() and value.itemsize < 4
        else value
        for key, value in weights.items()
    }
    return full, name


def state_dict(checkpoint: Any, filename: str = '', which: str | None = None) -> State:
    """Return the weights in a checkpoint, without wrappers' prefixes.

    Args:
        checkpoint (Any): Content of the file. Averaged weights are preferred.
        filename (str): Name of the file, to log which of several sets was taken.
            Defaults to '': not logged.
        which (str, optional): As of :func:`select_weights`. Defaults to None.

    Raises:
        ValueError: If it has several sets and none is under a usual key.
    """
    found = sets_of_weights(checkpoint)
    if not found:
        return {}
    weights, name = _chosen(found, which, filename or 'The checkpoint', '')
    if filename:
        rest = 'mmcosub publish-model --no-ema saves the trained ones'
        _log_choice(found, name, filename, rest if _is_swapped(found) else '')
    return weights


def without_computed(state: State) -> State:
    """Remove buffers that a network computes for its own size."""
    return {name: v for name, v in state.items() if not name.endswith(_COMPUTED)}


def _collect(node: Any, path: tuple[str, ...], found: dict[str, State]) -> None:
    if isinstance(node, nn.Module):  # of a trusted file
        node = node.state_dict()
    if not isinstance(node, Mapping) or len(path) > 3:
        return
    for key, value in node.items():
        if isinstance(key, str) and key not in _NO_WEIGHTS:
            _collect(value, (*path, key), found)
    weights = {
        _WRAPPERS.sub('', name): value
        for name, value in node.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    known = path[-1] in _ALL_KEYS if path else not found
    if any('.' in name for name in weights) or (weights and known):
        found['.'.join(path)] = weights


def _roles(found: dict[str, State]) -> dict[str, str | None]:
    """Return the role of each set: 'ema', 'model' or, if unknown, None."""
    roles = {
        name: next(
            (role for role, keys in _KEYS.items() if {*name.split('.')} & {*keys}),
            None if name else 'model',
        )
        for name in found
    }
    if _is_swapped(found):
        roles.update(state_dict='ema', ema_state_dict='model')
    trained = {name for name, role in roles.items() if role == 'model'}
    if 'teacher' in found and trained - {'student'}:
        roles['teacher'] = None  # a distillation teacher, not an average
    return roles


def _is_swapped(found: dict[str, State]) -> bool:
    """Return True if MMEngine has swapped the sets; its averages have a counter."""
    return 'state_dict' in found and 'steps' in found.get('ema_state_dict', {})


def _chosen(
    found: dict[str, State], which: str | None, filename: str, option: str
) -> tuple[State, str]:
    """Return the chosen weights and the name of their set."""

    def order(name: str) -> int:
        keys = [_ALL_KEYS.index(key) for key in name.split('.') if key in _ALL_KEYS]
        return min(keys, default=0)

    roles = _roles(found)
    named = [which] if which in found else []
    for role in ('ema', 'model') if which is None else (which,):
        named += sorted((n for n in found if roles[n] == role), key=order)
    unknown = [name for name in found if roles[name] is None]
    if len(unknown) == 1 and which in (None, 'model'):
        named += unknown
    if not named:
        raise ValueError(
            f'{filename} has no weights {which or "under a usual key"}; there are: '
            f'{_described(found) or "none"}.'
            + (f' Choose with {option}.' if found and option else '')
        )
    name = named[0]
    if name == 'ema_state_dict' and _is_swapped(found):
        trained = {k: v for k, v in found[name].items() if k != 'steps'}
        return {**found['state_dict'], **trained}, name
    return found[name], name


def _log_choice(found: dict[str, State], name: str, filename: str, rest: str) -> None:
    if len(found) > 1:
        there = f'{len(found)} sets of weights: {_described(found)}'
        taken = '; '.join(each for each in (name, rest) if each)
        print_log(f'{filename} has {there}. Taken: {taken}.', 'current')


def _described(found: dict[str, State]) -> str:
    return ', '.join(
        (name or 'those without a key') + (' (averaged)' if role == 'ema' else '')
        for name, role in _roles(found).items()
    )
