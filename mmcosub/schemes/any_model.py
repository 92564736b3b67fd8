"""Helpers for models, outputs, labels and criteria of plain PyTorch loops.

Shapes: ``R`` rows, ``B`` images, ``C`` classes, ``*`` positions.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmcosub.losses import activations

from .base import Scheme
from .step import count_processes

_logger = logging.getLogger('mmcosub')

Key = str | int | Callable[[Any], Tensor] | None
"""Place of the logits in an output: a key, a function, or None for the usual places."""


def find_logits(outputs: Any, key: Key, rows: int) -> Tensor:
    """Return the logits (R, C, *) where a key places them in a model's outputs."""
    found = _picked(outputs, key)
    what = f'a {type(found if found is not None else outputs).__name__}'
    if isinstance(found, Tensor):
        if found.ndim > 1 and len(found) == rows:
            return found
        what = f'a tensor of shape {tuple(found.shape)}'
    elif isinstance(outputs, Mapping):
        what = f'a {type(outputs).__name__} with {[*map(str, outputs)]}'
    raise ValueError(
        f'Logits of shape ({rows}, classes, ...) are expected, and the model returns '
        f'{what}. Set key=... to where its output has the logits, or to a function '
        'that returns them.'
    )


def _picked(outputs: Any, key: Key) -> Any:
    if callable(key):
        return key(outputs)
    if key is None:
        if isinstance(outputs, Mapping):
            usual = [name for name in ('logits', 'out') if name in outputs]
            names = usual or ([*outputs] if len(outputs) == 1 else [])
            return outputs[names[0]] if names else None
        if isinstance(outputs, tuple | list):
            return outputs[0] if outputs else None
        return outputs
    try:
        return getattr(outputs, key) if isinstance(key, str) else outputs[key]
    except (AttributeError, LookupError, TypeError):
        named = isinstance(outputs, Mapping) and key in outputs
        return outputs[key] if named else None


def labelled_positions(
    labels: Tensor, logits: Tensor, ignored: int | None
) -> Tensor | None:
    """Return the labelled fraction (B, *) of each position of logits (B, C, *).

    None if all count equally. Labels are classes (B, *) at any resolution, or soft.
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
    """Return a setting of a criterion: an attribute, or a keyword of a ``partial``."""
    keywords = getattr(criterion, 'keywords', {})
    return getattr(criterion, name, keywords.get(name, default))


def unwrapped(model: Any) -> nn.Module:
    """Return the model inside a wrapper for several processes; raise if unreachable."""
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


def fit_criterion(scheme: Scheme, criterion: Any) -> None:
    """Choose the distillation loss that fits a criterion.

    Raises a ``ValueError`` if none fits.
    """
    name = getattr(criterion, '__name__', type(criterion).__name__)
    reduction = setting(criterion, 'reduction', 'mean')
    if reduction != 'mean':
        raise ValueError(
            f'The criterion {name} has reduction={reduction!r}, and the distillation '
            "loss is a mean. Set reduction='mean'."
        )
    found = activations([criterion])
    if not found and scheme.soft_loss.name == 'auto' and scheme.views > 1:
        raise ValueError(
            f'CoTrainer cannot tell whether the criterion {name} uses a softmax or a '
            "sigmoid. Give it loss='ce' or loss='bce'."
        )
    scheme.soft_loss.fit(found, f'the criterion {name}')


def check_processes(trainer: Any) -> None:
    """Raise or warn if gradients would not be averaged over the processes."""
    if count_processes() == 1:
        return
    # Lightning's DistributedDataParallel is around the training step.
    outer = getattr(DistributedDataParallel, '_active_ddp_module', None)
    if trainer.caller() is trainer.backbone and outer is None:
        _logger.warning(
            'CoTrainer got the model itself, so gradients are not averaged over '
            'processes. Pass it the DistributedDataParallel around the model.'
        )
    if any(p.requires_grad for p in trainer.extras.parameters()):
        raise ValueError(
            f'{type(trainer.scheme).__name__} adds parameters to this model, and '
            'DistributedDataParallel does not average their gradients. Use one '
            'process, or another scheme.'
        )
