"""Reading checkpoints and judging whether they are the model's."""

import pickle
import re
from pathlib import Path
from zipfile import BadZipFile

from mmengine.runner.checkpoint import _load_checkpoint
from torch import Tensor, nn

# Parts without which a model still predicts the same.
_NOT_FOR_PREDICTION = ('auxiliary_head.',)


def require_file(filename: str) -> None:
    """Check that a checkpoint that is no URL is there.

    Args:
        filename (str): A file or URL.

    Raises:
        ValueError: If there is no such file.
    """
    if '://' not in filename and not Path(filename).is_file():
        folder = Path(filename) if Path(filename).is_dir() else Path(filename).parent
        there = sorted(path.name for path in folder.glob('*.pth'))
        raise ValueError(
            f'No checkpoint file {filename}. '
            + (f'In {folder} there are {there}.' if there else 'Check the path.')
        )


def read_checkpoint(filename: str, map_location: str = 'cpu') -> dict:
    """Read a checkpoint.

    Args:
        filename (str): A file or URL.
        map_location (str): Device of its tensors. Defaults to 'cpu'.

    Raises:
        ValueError: If there is no such file or it is no checkpoint.
    """
    require_file(filename)
    try:
        checkpoint = _load_checkpoint(filename, map_location=map_location)
    except (pickle.UnpicklingError, EOFError, RuntimeError, BadZipFile, KeyError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise ValueError(
            f'{filename} cannot be read as a checkpoint ({reason}). It may be cut '
            'short or something else: compare its size, or fetch or save it again.'
        ) from e
    if not isinstance(checkpoint, dict) or not state_dict(checkpoint):
        raise ValueError(f'{filename} has no weights (no `state_dict`).')
    return checkpoint


def state_dict(checkpoint: dict) -> dict[str, Tensor]:
    """The weights in a checkpoint, without the prefix of DistributedDataParallel."""
    weights = checkpoint.get('state_dict', checkpoint)
    return {
        re.sub(r'^module\.', '', key): value
        for key, value in weights.items()
        if isinstance(value, Tensor)
    }


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
            "model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)."
        )


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
