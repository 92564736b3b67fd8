"""Loading of whole-model checkpoints, with checks that they fit the model."""

import logging
import re

from mmengine.logging import print_log
from torch import nn

from .matching import is_head, some
from .weights import State, require_finite, state_dict


def load_to_train(
    model: nn.Module, checkpoint: dict, filename: str, resumed: bool = False
) -> None:
    """Load weights to start or continue training from.

    Heads of another shape, as with another number of classes, keep their initial
    weights. The log lists them, and says which of several sets of weights was taken:
    averaged ones are preferred. Messages name the file.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): The checkpoint.
        filename (str): Its name.
        resumed (bool): True on resuming, where all weights must match exactly. Defaults
            to False.

    Raises:
        ValueError: If the checkpoint hardly matches the model, has other data types, or
            other shapes outside of heads. On resuming, if anything is missing or
            differs.
    """
    weights = dict(state_dict(checkpoint, '' if resumed else filename))
    own = model.state_dict()
    shared = own.keys() & weights.keys()
    if 2 * len(shared) < len(weights):
        raise ValueError(
            f'{filename} hardly matches the model: only {len(shared)} of its '
            f'{len(weights)} weights have a place there. The checkpoint has '
            f'{some(sorted(weights.keys() - own.keys()))}; the model has '
            f'{some(sorted(own.keys() - weights.keys()))}. Convert the names (see '
            'tools/model_converters), or load a bare backbone through --backbone.'
        )
    # Compare before loading: some backbones resize their tables while they load.
    differ = [k for k in own if k in weights and weights[k].shape != own[k].shape]
    wrong = [
        said.format(some(sorted(names)))
        for said, names in (
            ('{} differ in shape (another number of classes?)', differ),
            ('it lacks {}', own.keys() - weights.keys()),
            ('it also has {}', weights.keys() - own.keys()),
        )
        if names
    ]
    if resumed and wrong:
        raise ValueError(
            f'{filename} is of a run of another model: {" and ".join(wrong)}. Resume '
            'with the config that the run was begun with, or start a new one from its '
            f'weights: --cfg-options load_from={filename}, without --resume.'
        )
    if heads := [name for name in differ if is_head(name)]:
        weights.update({name: own[name] for name in heads})
        print_log(
            f'{filename} is of other shapes (another number of classes?): '
            f'{some(sorted(heads))} start afresh.',
            'current',
        )
    remedy = (
        "If it is of another size, --backbone (or init_cfg=dict(type='Pretrained', "
        'checkpoint=...) of the backbone) resizes it.'
    )
    missing, unexpected = _load(model, weights, filename, remedy, exactly=resumed)
    for what, names in (('has no', missing), ('also has', unexpected)):
        if names:
            print_log(f'{filename} {what} {some(sorted(names))}.', 'current')


def load_for_prediction(model: nn.Module, checkpoint: dict, filename: str) -> None:
    """Load weights for prediction; raise unless all are present.

    Messages name the file. An auxiliary head may be missing. The log warns of weights
    that the model does not have.

    Raises:
        ValueError: If weights are missing, or of other shapes or data types.
    """
    remedy = (
        'Test with the config that the checkpoint was trained with (a copy is in its '
        'work directory).'
    )
    weights = state_dict(checkpoint, filename)
    missing, unexpected = _load(model, weights, filename, remedy)
    free = re.compile(r'auxiliary_head\..*|.*num_batches_tracked')
    if missing := [name for name in missing if not free.fullmatch(name)]:
        raise ValueError(
            f'{filename} does not fit the model: it lacks {len(missing)} of its '
            f'weights, among them {some(sorted(missing))}'
            + (f'; it has instead {some(sorted(unexpected))}' if unexpected else '')
            + f'. {remedy}'
        )
    if unexpected:
        what = f'{filename} has weights that the model does not have'
        print_log(f'{what}: {some(unexpected)}', 'current', logging.WARNING)


def _load(
    model: nn.Module, weights: State, filename: str, remedy: str, exactly: bool = False
) -> tuple[list[str], list[str]]:
    """Load weights; return missing and unexpected names.

    Raises for other shapes and data types, and for numbers that are not finite. Without
    ``exactly``, any floating-point type fits but float8, which needs a scale.
    """
    own = model.state_dict()
    types = {k: (weights[k].dtype, own[k].dtype) for k in own if k in weights}
    wrong = [
        f'{name} is {given} where the model has {wanted}'
        for name, (given, wanted) in types.items()
        if given != wanted
        and (
            exactly
            or not (given.is_floating_point and wanted.is_floating_point)
            or given.itemsize == 1
        )
    ]
    if wrong:
        raise ValueError(
            f'{filename} has weights of other data types: {some(wrong)}. Save it '
            'again from the model that it was trained with.'
        )
    require_finite({name: weights[name] for name in types}, filename)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        # mmpretrain resizes Swin's tables with a function that SciPy has removed.
        lines = str(error).splitlines()
        shapes = [line.strip(' \t.') for line in lines if 'mismatch' in line]
        said = '; '.join(shapes[:4]) + (' ...' if len(shapes) > 4 else '')
        raise ValueError(
            f'{filename} does not fit the model: {said or error}. {remedy}'
        ) from error
    return missing, unexpected
