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


def find_logits(outputs: Any, key: Key) -> Tensor:
    """Return the logits (R, C, *) where a key places them in a model's outputs."""
    found = _picked(outputs, key)
    if isinstance(found, Tensor):
        if found.ndim > 1:
            return found
        what = f'a tensor of shape {tuple(found.shape)}'
    elif isinstance(outputs, Mapping):
        what = f'a {type(outputs).__name__} with {[*map(str, outputs)]}'
    else:
        what = f'a {type(outputs if found is None else found).__name__}'
    place = f' at {key!r}' if isinstance(key, str | int) else ''
    raise ValueError(
        f'Logits of shape (images, classes, ...) are expected{place}, and the model '
        f'returns {what}. Set key=... to where its output has the logits, or to a '
        'function that returns them.'
    )


def split_views(logits: Tensor, views: int, batch: int) -> tuple[Tensor, ...]:
    """Return the logits (B, C, *) of each view, from all rows, view after view."""
    if len(logits) != views * batch:
        raise ValueError(
            f'The model returns logits of {len(logits)} images for {views * batch}. '
            'Set key=... to where its output has those of each image.'
        )
    return logits.chunk(views)


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
    by_name = isinstance(key, str) and not isinstance(outputs, Mapping)
    try:
        return getattr(outputs, str(key)) if by_name else outputs[key]
    except (AttributeError, LookupError, TypeError):
        return None


def labelled_positions(
    labels: Any, logits: Tensor, ignored: int | None
) -> Tensor | None:
    """Return the labelled fraction (B, *) of each position of logits (B, C, *).

    None if all count equally. Labels are classes, (B, *) or (B, 1, *), or one for each
    class, (B, C, *), at any resolution. Without an ``ignored`` label, those are
    ignored that are no class.
    """
    if not isinstance(labels, Tensor) or labels.ndim - logits.ndim not in (-1, 0):
        return None
    if ignored is not None:
        valid = labels != ignored
    elif labels.is_floating_point():
        return None
    else:
        valid = (labels >= 0) & (labels < max(logits.shape[1], 2))
    valid = valid.to(torch.promote_types(logits.dtype, torch.float32))
    if labels.ndim == logits.ndim:
        valid = valid.mean(dim=1)
    if valid.shape[1:] == logits.shape[2:]:
        return valid
    return F.interpolate(valid[:, None], logits.shape[2:], mode='area').squeeze(1)


def label_loss(criterion: Any, logits: Tensor, labels: Any) -> Tensor:
    """Return a criterion's loss; raise if it is not one number."""
    loss = criterion(logits, labels)
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return loss
    found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
    raise ValueError(
        f'The criterion returns {found}, and a mean over images (and positions) is '
        'expected, a tensor of one number.'
    )


def check_channels(scheme: Scheme, logits: Tensor, labels: Any) -> None:
    """Raise if there are no classes to distill in dimension 1 of logits (B, C, *)."""
    if not scheme.distills:
        return
    shape = tuple(logits.shape)
    if scheme.soft_loss.activation == 'softmax' and shape[1] == 1:
        raise ValueError(
            f'The logits have the shape {shape}, so one class, whose softmax is always '
            "1: there is nothing to distill. Give loss='bce' to CoTrainer, or logits "
            'of two classes.'
        )
    of_labels = tuple(getattr(labels, 'shape', ()))
    if len(shape) > 2 and of_labels == shape[:-1] != (shape[0], *shape[2:]):
        raise ValueError(
            f'The logits have the shape {shape} and the labels {of_labels}, so the '
            'classes are last. Give key=lambda output: ... to CoTrainer, with '
            '.movedim(-1, 1) of the logits.'
        )


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
    others = 'FullyShardedDataParallel', '_FabricModule'  # the latter is Lightning's
    known = isinstance(model, DistributedDataParallel)
    wrapped = known or type(model).__name__ in others
    inner = model.module if wrapped else model
    if hasattr(inner, '_orig_mod') or getattr(model, '_compiled_call_impl', None):
        raise ValueError(
            'Compile the model by torch.compile(model), outside of '
            'DistributedDataParallel, for CoTrainer to reach its blocks.'
        )
    return inner


def check_images(images: Any, unlabelled: Any) -> None:
    """Raise if images are no tensor, or unlabelled ones not two of one shape."""
    if not isinstance(images, Tensor):
        raise ValueError(
            f'The images must be a tensor, not a {type(images).__name__}. Pass the one '
            'that the model takes, such as batch["pixel_values"].'
        )
    if not len(images):
        raise ValueError('The batch has no labelled images, and needs one or more.')
    if unlabelled is None:
        return
    pair = isinstance(unlabelled, tuple | list) and len(unlabelled) == 2
    shapes = [tuple(images.shape) for images in unlabelled] if pair else []
    if not pair or shapes[0] != shapes[1]:
        raise ValueError(
            'unlabelled must be (weak, strong), two tensors of the same shape, not '
            f'{shapes or type(unlabelled).__name__}.'
        )


def fit_criterion(scheme: Scheme, criterion: Any, distills: bool) -> None:
    """Choose the distillation loss that fits a criterion.

    Raises a ``ValueError`` if none fits and the step distills.
    """
    name = getattr(criterion, '__name__', type(criterion).__name__)
    # timm's binary cross-entropy may sum over classes.
    for key, needed in (('sum_classes', False), ('reduction', 'mean')):
        given = setting(criterion, key, needed)
        if given != needed:
            raise ValueError(
                f'The criterion {name} has {key}={given!r}, and the distillation loss '
                f'is a mean. Set {key}={needed!r}.'
            )
    found = activations([criterion])
    if not found and scheme.soft_loss.name == 'auto' and distills:
        raise ValueError(
            f'CoTrainer cannot tell whether the criterion {name} uses a softmax or a '
            "sigmoid. Give it loss='ce' or loss='bce', if the model returns logits of "
            "classes. Others, as in regression, have the scheme 'stochastic_depth' "
            'alone.'
        )
    scheme.soft_loss.fit(found, f'the criterion {name}')


def check_processes(trainer: Any) -> None:
    """Raise or warn if gradients would not be averaged over the processes.

    The seed becomes that of the first, whose state is saved; plans differ by rank.
    """
    if count_processes() == 1:
        return
    seed = torch.tensor(trainer.plan_seed, device=next(trainer.parameters()).device)
    torch.distributed.broadcast(seed, 0)
    trainer.scheme.seed = int(seed)
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


def cast_like_wrapper(trainer: Any, inputs: Tensor) -> Tensor:
    """Cast inputs as wrappers for half precision do, to run the model inside."""
    if trainer.caller() is trainer.backbone or not inputs.is_floating_point():
        return inputs
    return inputs.to(next(trainer.backbone.parameters()).dtype)
