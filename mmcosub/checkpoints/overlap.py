"""Loading of whole-model checkpoints, with checks that they fit the model."""

from collections.abc import Collection

import torch
from mmengine.logging import print_log
from torch import nn

from .matching import is_head
from .weights import State, state_dict

# Parts that do not affect predictions.
_NOT_FOR_PREDICTION = ('auxiliary_head.',)


def check_overlap(model: nn.Module, checkpoint: dict, filename: str) -> None:
    """Raise a ``ValueError`` unless a model has half of a checkpoint's weights.

    Messages name the file.
    """
    wanted, given = set(model.state_dict()), set(state_dict(checkpoint))
    if 2 * len(wanted & given) < len(given):
        raise ValueError(
            f'{filename} hardly matches the model: only {len(wanted & given)} of its '
            f'{len(given)} weights have a place there. '
            f'The checkpoint has {_some(given - wanted)}; '
            f'the model has {_some(wanted - given)}. Convert the names (see '
            'tools/model_converters), or load a bare backbone through '
            '--backbone.'
        )


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
    check_overlap(model, checkpoint, filename)
    weights = dict(state_dict(checkpoint, '' if resumed else filename))
    own = model.state_dict()
    # Compare before loading: some backbones resize their tables while they load.
    differ = [k for k in own if k in weights and weights[k].shape != own[k].shape]
    if resumed:
        lacking, more = own.keys() - weights.keys(), weights.keys() - own.keys()
        wrong = [
            said.format(f'{_some(names)} ({len(names)})')
            for said, names in (
                ('{} differ in shape (another number of classes?)', differ),
                ('it lacks {}', lacking),
                ('it also has {}', more),
            )
            if names
        ]
        if wrong:
            raise ValueError(
                f'{filename} is of a run of another model: {" and ".join(wrong)}. '
                'Resume with the config that the run was begun with, or start a new '
                f'one from its weights: --cfg-options load_from={filename}, without '
                '--resume.'
            )
    if heads := [name for name in differ if is_head(name)]:
        weights.update({name: own[name] for name in heads})
        print_log(
            f'{filename} is of other shapes (another number of classes?): '
            f'{_some(heads)} start afresh ({len(heads)}).',
            'current',
        )
    missing, unexpected = _load(
        model,
        weights,
        filename,
        "If it is of another size, --backbone (or init_cfg=dict(type='Pretrained', "
        'checkpoint=...) of the backbone) resizes it.',
        exactly=resumed,
    )
    for what, names in (('has no', missing), ('also has', unexpected)):
        if names:
            print_log(f'{filename} {what} {_some(names)} ({len(names)}).', 'current')


def load_for_prediction(model: nn.Module, checkpoint: dict, filename: str) -> list[str]:
    """Load weights for prediction; raise unless all are present.

    Messages name the file. An auxiliary head may be missing.

    Returns:
        list[str]: Names in the checkpoint that the model does not have.

    Raises:
        ValueError: If weights are missing, or of other shapes or data types.
    """
    remedy = (
        'Test with the config that the checkpoint was trained with (a copy is in its '
        'work directory).'
    )
    missing, unexpected = _load(model, state_dict(checkpoint), filename, remedy)
    missing = [
        key
        for key in missing
        if not key.startswith(_NOT_FOR_PREDICTION)
        and not key.endswith('num_batches_tracked')
    ]
    if missing:
        raise ValueError(
            f'{filename} does not fit the model: it lacks {len(missing)} of its '
            f'weights, among them {_some(missing)}'
            + (f'; it has instead {_some(unexpected)}' if unexpected else '')
            + f'. {remedy}'
        )
    return unexpected


def _load(
    model: nn.Module, weights: State, filename: str, remedy: str, exactly: bool = False
) -> tuple[list[str], list[str]]:
    """Load weights; return missing and unexpected names.

    Raises for other shapes and data types. Without ``exactly``, any floating-point type
    fits but float8, which needs a scale.
    """

    def fits(now: torch.dtype, wanted: torch.dtype) -> bool:
        if exactly or not wanted.is_floating_point:
            return now == wanted
        return now.is_floating_point and now.itemsize > 1

    wrong = [
        f'{name} is {weights[name].dtype} where the model has {tensor.dtype}'
        for name, tensor in model.state_dict().items()
        if name in weights and not fits(weights[name].dtype, tensor.dtype)
    ]
    if wrong:
        raise ValueError(
            f'{filename} has weights of other data types: {_some(wrong)}. Save it '
            'again from the model that it was trained with.'
        )
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


def _some(names: Collection[str]) -> str:
    return ', '.join(sorted(names)[:4]) + (', ...' if len(names) > 4 else '')
