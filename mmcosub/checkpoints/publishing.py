"""Export of a run's checkpoint to a file of weights and metadata."""

import hashlib
import io
from pathlib import Path

import torch

from mmcosub.files import atomic_write

from .reading import read_checkpoint, state_dict

_EMA = 'module.'


def publish(checkpoint: str, out: str | Path, average: bool = True) -> Path:
    """Write a checkpoint's weights and ``meta`` to a file named by its hash.

    State for resuming (optimizer, schedules, messages, hooks) is left out.

    Args:
        checkpoint (str): The run's checkpoint, a file or URL.
        out (str | Path): Name of the file without the hash, ``name.pth`` for
            ``name-1234abcd.pth``.
        average (bool): For a run with MMEngine's ``EMAHook``: the averaged weights
            rather than the trained ones. Defaults to True.

    Returns:
        Path: The file.

    Raises:
        ValueError: If the checkpoint cannot be read or lacks the weights, or the folder
            of ``out`` does not exist.
    """
    out = Path(out)
    if not out.parent.is_dir():
        raise ValueError(f'There is no folder {out.parent}: create it first.')
    given = read_checkpoint(checkpoint)
    weights = state_dict(given)
    if not average:
        weights.update(_trained(given, checkpoint))
    buffer = io.BytesIO()
    torch.save(dict(meta=given.get('meta') or {}, state_dict=weights), buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    name = out.with_name(f'{out.name.removesuffix(".pth")}-{digest}.pth')
    with atomic_write(name) as file:
        file.write_bytes(buffer.getvalue())
    return name


def _trained(checkpoint: dict, name: str) -> dict[str, torch.Tensor]:
    """Return the trained weights that MMEngine's EMA hook has swapped."""
    exchanged = checkpoint.get('ema_state_dict')
    if not exchanged:
        raise ValueError(
            f'{name} has no average of weights, so no others: no --no-ema.'
        )
    return {
        key.removeprefix(_EMA): value
        for key, value in exchanged.items()
        if key.startswith(_EMA)
    }
