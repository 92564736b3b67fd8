"""Search for the sets of weights in a checkpoint, and choice of one."""

import re
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

State = dict[str, Tensor]

# Usual keys of averaged and of trained weights in files.
_EMA = re.compile(r'(.+[._])?ema([._].+)?|teacher')
_TRAINED = re.compile(
    r'(model_)?state_dict|model|module|net|network|params|weights|student'
)
# State of optimizers and, in MMEngine and Lightning, of hooks.
_NO_WEIGHTS = re.compile(
    r'optim.*|message_hub|param_schedulers|meta|co_training_extras|callbacks'
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
    if len(weights) > 3 and all(v.ndim < 2 for v in weights.values()):
        raise ValueError(
            f'{filename} has flattened weights, as FSDP keeps them in memory. Save the '
            'whole ones (torch.distributed.checkpoint.state_dict with full_state_dict).'
        )
    half = {k for k, v in weights.items() if v.is_floating_point() and v.itemsize < 4}
    return {k: v.float() if k in half else v for k, v in weights.items()}, name


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
    weights, name = _chosen(found, which, filename or 'The checkpoint')
    if filename:
        rest = 'mmcosub publish-model --no-ema saves the trained ones'
        _log_choice(found, name, filename, rest if _is_swapped(found) else '')
    return weights


def nonfinite_weights(state: State) -> list[str]:
    """Return names of weights that are not finite; masks of attention may not be."""
    weights = without_computed(state).items()
    return [n for n, w in weights if w.is_floating_point() and not w.isfinite().all()]


def require_finite(state: State, filename: str) -> None:
    """Raise a ``ValueError`` for weights that are not finite."""
    if odd := nonfinite_weights(state):
        raise ValueError(
            f'{filename} has {len(odd)} weights that are not finite, '
            f'{", ".join(odd[:3])}: its predictions are meaningless. Take an earlier '
            'checkpoint of the run.'
        )


def without_computed(state: State) -> State:
    """Remove buffers that a network computes for its own size."""
    return {name: v for name, v in state.items() if not name.endswith(_COMPUTED)}


def _collect(node: Any, path: tuple[str, ...], found: dict[str, State]) -> None:
    if isinstance(node, nn.Module):  # of a trusted file
        node = node.state_dict()
    if not isinstance(node, Mapping) or len(path) > 3:
        return
    for key, value in node.items():
        if isinstance(key, str) and not _NO_WEIGHTS.fullmatch(key):
            _collect(value, (*path, key), found)
    weights = {
        _WRAPPERS.sub('', name): value
        for name, value in node.items()
        if isinstance(name, str) and isinstance(value, Tensor)
        if name != 'n_averaged'  # of PyTorch's AveragedModel
    }
    key = path[-1] if path else ''
    known = _EMA.fullmatch(key) or _TRAINED.fullmatch(key) or not (path or found)
    if any('.' in name for name in weights) or (weights and known):
        found['.'.join(path)] = weights


def _roles(found: dict[str, State]) -> dict[str, str]:
    """Return each set's role: 'ema', 'model' or '' if unknown."""
    roles = {'': 'model'}
    for name in filter(None, found):
        keys = name.split('.')
        trained = 'model' if any(map(_TRAINED.fullmatch, keys)) else ''
        roles[name] = 'ema' if any(map(_EMA.fullmatch, keys)) else trained
    if _is_swapped(found):
        roles.update(state_dict='ema', ema_state_dict='model')
    others = found.keys() - {'student', 'teacher'}
    if 'teacher' in found and 'model' in map(roles.get, others):
        roles['teacher'] = ''  # of a distillation, not an average
    return roles


def _is_swapped(found: dict[str, State]) -> bool:
    """Return True if MMEngine has swapped the sets; its averages have a counter."""
    return 'state_dict' in found and 'steps' in found.get('ema_state_dict', {})


def _chosen(
    found: dict[str, State], which: str | None, filename: str, option: str = ''
) -> tuple[State, str]:
    """Return the chosen weights and the name of their set."""
    roles = _roles(found)
    wanted = ('ema', 'model') if which is None else (which,)
    fits = [which] if which in found else []
    fits += [name for role in wanted for name in found if roles[name] == role]
    unknown = [name for name in found if not roles[name]]
    if len(unknown) == 1 and 'model' in wanted:
        fits += unknown
    if not fits:
        raise ValueError(
            f'{filename} has no weights {which or "under a usual key"}; there are: '
            f'{_described(found) or "none"}.'
            + (f' Choose with {option}.' if found and option else '')
        )
    name = fits[0]
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
    roles = _roles(found)
    return ', '.join(
        (name or 'those without a key') + ' (averaged)' * (roles[name] == 'ema')
        for name in found
    )
