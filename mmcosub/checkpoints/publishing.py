"""Export of a run's checkpoint to a file of weights and metadata."""

import hashlib
import io
from pathlib import Path

import torch

from mmcosub.files import atomic_write

from .reading import read_checkpoint
from .weights import state_dict


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
