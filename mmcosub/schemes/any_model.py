"""Helpers for models, outputs, labels and criteria of plain PyTorch loops.

Shapes: ``R`` rows, ``B`` images, ``C`` classes, ``*`` positions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

Key = str | int | Callable[[Any], Tensor] | None
"""Place of the logits in an output: a key, a function, or None for the usual places."""


def find_logits(outputs: Any, key: Key, rows: int) -> Tensor:
    """Return the logits among a model's outputs.

    Args:
        outputs (Any): A tensor, tuple, list, dict, or an object with attributes.
        key (str | int | Callable, optional): Their place. None stands for the output
            itself, ``logits`` or ``out`` or the only value of a dict, or the first
            element of a tuple.
        rows (int): Number of rows R.

    Returns:
        Tensor: Of shape (R, C, *).

    Raises:
        ValueError: If there is no such tensor.
    """
    found = _picked(outputs, key)
    if isinstance(found, Tensor) and found.ndim > 1 and len(found) == rows:
        return found
    if isinstance(outputs, Mapping):
        what = f'a {type(outputs).__name__} with {[*map(str, outputs)]}'
    else:
        what = f'a {type(found).__name__}'
    if isinstance(found, Tensor):
        what = f'a tensor of shape {tuple(found.shape)}'
    raise ValueError(
        f'Logits of shape ({rows}, classes, ...) are expected, and the model returns '
        f'{what}. Set key=... to where its output has the logits, or to a function '
        'that returns them.'
    )


def _picked(outputs: Any, key: Key) -> Any:
    if callable(key):
        return key(outputs)
    if isinstance(outputs, Mapping) and key is None:
        usual = [name for name in ('logits', 'out') if name in outputs]
        key = next(iter(usual or (outputs if len(outputs) == 1 else [])), None)
        return None if key is None else outputs[key]
    if isinstance(outputs, tuple | list) and key is None:
        return outputs[0] if outputs else None
    if key is None:
        return outputs
    try:
        return getattr(outputs, key) if isinstance(key, str) else outputs[key]
    except (AttributeError, LookupError, TypeError):
        named = isinstance(outputs, Mapping) and key in outputs
        return outputs[key] if named else None


def labelled_positions(
    labels: Tensor, logits: Tensor, ignored: int | None
) -> Tensor | None:
    """Return the labelled fraction of each position, or None if all count equally.

    Args:
        labels (Tensor): Classes of shape (B, *), at any resolution. Soft labels count
            everywhere.
        logits (Tensor): Of shape (B, C, *).
        ignored (int, optional): Label of positions without a label.

    Returns:
        Tensor: In [0, 1], of shape (B, *).
    """
    dense = not labels.is_floating_point() and labels.ndim == logits.ndim - 1
    if ignored is None or not dense:
        return None
    valid = (labels != ignored).to(torch.promote_types(logits.dtype, torch.float32))
    if valid.shape[1:] == logits.shape[2:]:
        return valid
    height, width = logits.shape[2:]
    return F.adaptive_avg_pool2d(valid, (height, width))


def setting(criterion: Any, name: str, default: Any) -> Any:
    """Return a setting of a criterion: an attribute, or a keyword of a ``partial``.

    Args:
        criterion (Callable): The criterion.
        name (str): Name of the setting.
        default (Any): Value for a criterion without the setting.
    """
    keywords = getattr(criterion, 'keywords', {})
    return getattr(criterion, name, keywords.get(name, default))


def unwrapped(model: Any) -> nn.Module:
    """Return the model inside a wrapper for several processes.

    Args:
        model (nn.Module): The model or its wrapper.

    Raises:
        ValueError: If its blocks cannot be reached.
    """
    if isinstance(model, DataParallel):
        raise ValueError(
            'nn.DataParallel copies the model in every step, so its submodels cannot '
            'be run. Use DistributedDataParallel.'
        )
    sharded = type(model).__name__ == 'FullyShardedDataParallel'
    wrapped = sharded or isinstance(model, DistributedDataParallel)
    inner = model.module if wrapped else model
    if hasattr(inner, '_orig_mod') or getattr(model, '_compiled_call_impl', None):
        raise ValueError(
            'Compile the model by torch.compile(model), outside of '
            'DistributedDataParallel, for CoTrainer to reach its blocks.'
        )
    return inner
