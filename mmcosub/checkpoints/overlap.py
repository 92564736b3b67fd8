"""Judging whether a checkpoint is a model's, and loading it if so."""

import re

from mmengine.logging import print_log
from torch import nn

from .leftovers import is_head
from .reading import state_dict

# Parts without which a model still predicts the same.
_NOT_FOR_PREDICTION = ('auxiliary_head.',)


def check_overlap(model: nn.Module, checkpoint: dict, filename: str) -> None:
    """Check that most of a checkpoint has its place in a model to be trained.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): The checkpoint.
        filename (str): Its name, for the message.

    Raises:
        ValueError: If fewer than half of the checkpoint's weights do.
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
    """Load weights to start or continue a training from.

    Weights of heads whose shapes differ, as with another number of classes, are left
    as they are, and the log says so.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): The checkpoint.
        filename (str): Its name, for messages.
        resumed (bool): Whether a run goes on, for which all shapes must be the same.
            Defaults to False.

    Raises:
        ValueError: If it hardly matches the model, or shapes differ other than those
            of heads, or any where a run goes on.
    """
    check_overlap(model, checkpoint, filename)
    carry = (
        'If it is of another size, --backbone (or init_cfg=dict('
        "type='Pretrained', checkpoint=...) of the backbone) resizes it."
    )
    weights, own = state_dict(checkpoint), model.state_dict()
    if resumed:
        # Here, not below: some backbones resize their tables while they load.
        differ = [k for k in own if k in weights and weights[k].shape != own[k].shape]
        if differ:
            raise ValueError(
                f'{filename} is of a run of another model: {_some(differ)} differ in '
                'shape (another number of classes?). Resume with the config that the '
                'run was begun with, or start a new one from its weights: '
                f'--cfg-options load_from={filename}, without --resume.'
            )
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        shapes = re.findall(r'size mismatch for (\S+):', str(error))
        others = [name for name in shapes if not is_head(name)]
        if others or not shapes:
            raise ValueError(
                f'{filename} does not fit the model: '
                f'{_some(others) or error} differ in shape. {carry}'
            ) from error
        print_log(
            f'{filename} is of other shapes (another number of classes?): '
            f'{_some(shapes)} start afresh ({len(shapes)}).',
            'current',
        )
        missing = [name for name in own if name not in weights]
        unexpected = [name for name in weights if name not in own]
    except (AttributeError, NotImplementedError) as error:
        # mmpretrain's resizing of Swin's tables asks SciPy for what it had.
        raise ValueError(
            f'{filename} does not fit the model: {error}. {carry}'
        ) from error
    for what, names in (('has no', missing), ('has besides', unexpected)):
        if names:
            print_log(f'{filename} {what} {_some(names)} ({len(names)}).', 'current')


def load_for_prediction(model: nn.Module, checkpoint: dict, filename: str) -> list[str]:
    """Load everything that a model predicts with, or refuse.

    Args:
        model (nn.Module): The model.
        checkpoint (dict): The checkpoint.
        filename (str): Its name, for the message.

    Returns:
        list[str]: Names in the checkpoint that have no place in the model.

    Raises:
        ValueError: If weights are missing or of other shapes.
    """
    mend = (
        'Test with the config that the checkpoint was trained with (a copy is in its '
        'work directory).'
    )
    try:
        missing, unexpected = model.load_state_dict(
            state_dict(checkpoint), strict=False
        )
    except RuntimeError as e:
        shapes = [line.strip() for line in str(e).splitlines() if 'mismatch' in line]
        raise ValueError(
            f'{filename} does not fit the model: {"; ".join(shapes[:4])}'
            f'{" ..." if len(shapes) > 4 else ""}. {mend}'
        ) from e
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
            + f'. {mend}'
        )
    return list(unexpected)


def _some(names: set[str] | list[str]) -> str:
    return ', '.join(sorted(names)[:4]) + (', ...' if len(names) > 4 else '')
