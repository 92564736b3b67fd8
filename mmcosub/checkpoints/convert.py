"""Files for elsewhere: conversion to another library, and a run's weights alone."""

import hashlib
import io
import re
from pathlib import Path

import torch

from mmcosub.files import atomic_write

from .adapt import fold_layer_scale, fold_patch_bias
from .by_names import network_in
from .formats.places import in_model, require_places
from .formats.table import FORMATS, Format, detect_format, plain_name
from .positions import count_tokens, position_per_token
from .reading import read_checkpoint
from .weights import State, select_weights, state_dict

_NO_NEED = (
    'To train from it no conversion is needed: mmcosub train CONFIG --backbone FILE.'
)


def convert_checkpoint(
    filename: str, target: str, trust: bool = False, which: str | None = None
) -> tuple[State, str, str]:
    """Convert the weights of a checkpoint; its format is detected.

    Args:
        filename (str): Checkpoint file or URL.
        target (str): One of 'mmpretrain' (an ``ImageClassifier``), 'mmseg' (the
            backbone of a segmentor) and 'timm'.
        trust (bool): Allow any Python object, which can execute code. Defaults to
            False.
        which (str, optional): 'ema' (averaged), 'model' (trained) or the name of a set
            of weights in the file. Defaults to None: the average if there is one.

    Returns:
        tuple: The weights, and the names of the formats before and after.

    Raises:
        ValueError: If the file cannot be read, its format is unknown, or the target has
            no such architecture or lacks some of its parts.
    """
    checkpoint = read_checkpoint(filename, trust=trust)
    weights, _ = select_weights(checkpoint, which, filename, '--weights')
    weights = network_in(weights, with_head=True)
    if any(name.startswith('backbone.') for name in weights):
        # A classifier or segmentor: only the backbone and the head are converted.
        parts = ('backbone.', 'head.')
        weights = {k: v for k, v in weights.items() if k.startswith(parts)}
    weights = {plain_name(name): value for name, value in weights.items()}
    source = detect_format(weights)
    if source is None:
        raise ValueError(
            f'{filename} has an unknown format; it contains '
            f'{", ".join(sorted(weights)[:4])}, ... {_NO_NEED}'
        )
    state = source.to_our_state(weights)
    if source.name in ('timm ViT', 'DeiT III') and target != 'timm':
        state = position_per_token(state)
    state = _with_head(state, source.family, target)
    if target == 'mmseg':
        state = _of_backbone(state, source.family)
    known = _format_of(source, target, state)
    require_places(state, source.family, target, filename)
    product = known.from_our_state(state) if known else state
    product = {in_model(name, target): value for name, value in product.items()}
    for name in [name for name in product if name.endswith('running_var')]:
        count = name.replace('running_var', 'num_batches_tracked')
        product.setdefault(count, torch.tensor(0))  # not in older files
    return product, source.name, known.name if known else f'{target} {source.family}'


def _with_head(state: State, family: str, target: str) -> State:
    """Rename a linear head to the one of the target's classifier."""
    averaged = 'ln2.weight' in state and 'ln1.weight' not in state
    plain = family != 'ViT' or (target == 'mmpretrain' and averaged)
    head = 'head.fc.' if plain else 'head.layers.head.'
    return {re.sub(r'^head\.(fc|layers\.head)\.', head, k): v for k, v in state.items()}


def _of_backbone(state: State, family: str) -> State:
    """Return the backbone's weights alone, as mmseg's class has them."""
    behind = re.compile(r'head|fc\.|mask_token|decoder|pooler')
    state = {k: v for k, v in state.items() if not behind.match(k)}
    if family == 'ViT':  # mmseg's has neither of the two
        state = fold_patch_bias(fold_layer_scale(state), count_tokens(state))
    if family in ('ViT', 'BEiT'):  # of averaged patches
        state = {k: v for k, v in state.items() if not k.startswith('ln2.')}
    return state


def _format_of(source: Format, target: str, state: State) -> Format | None:
    """Return the format to write; None for mmpretrain's names, used internally."""
    family, deep = source.family, 'stem.0.conv.weight' in state
    name = {
        ('timm', 'ResNet'): 'timm ResNet, deep stem' if deep else 'ResNet',
        ('mmseg', 'ResNet'): 'mmseg ResNet, deep stem' if deep else '',
    }.get((target, family), f'{target} {family}')
    if name in FORMATS:
        return FORMATS[name]
    if target in ('mmpretrain', 'mmseg') and ' ' not in family:
        return None
    raise ValueError(
        f'{target} has no {family} that this could be converted to. {_NO_NEED}'
    )


def publish(checkpoint: str, out: str | Path, average: bool = True) -> Path:
    """Write a checkpoint's weights and ``meta`` to a file named by its hash.

    State for resuming (optimizer, schedules, messages, hooks) is left out. ``out`` is
    the name without the hash, ``name.pth`` for ``name-1234abcd.pth``. ``average``: of a
    run with MMEngine's ``EMAHook``, the averaged weights rather than the trained ones.

    Raises:
        ValueError: If the checkpoint cannot be read or lacks the weights, or the folder
            of ``out`` does not exist.
    """
    out = Path(out)
    if not out.parent.is_dir():
        raise ValueError(f'There is no folder {out.parent}: create it first.')
    given = read_checkpoint(checkpoint)
    if not average and not given.get('ema_state_dict'):
        raise ValueError(
            f'{checkpoint} has no average of weights, so no others: no --no-ema.'
        )
    weights = state_dict(given, which=None if average else 'model')
    buffer = io.BytesIO()
    torch.save(dict(meta=given.get('meta') or {}, state_dict=weights), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    name = out.with_name(f'{out.name.removesuffix(".pth")}-{digest}.pth')
    with atomic_write(name) as file:
        file.write_bytes(buffer.getvalue())
    return name
