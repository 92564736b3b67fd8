"""Protection of files that a loaded checkpoint asks MMEngine to delete."""

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import FlexibleRunner, Runner


def forget_named_files(
    runner: Runner | FlexibleRunner, ours: type[CheckpointHook]
) -> None:
    """Remove file names that other hooks would delete after resuming.

    MMEngine deletes best and outdated checkpoints by the names in the loaded
    checkpoint, absolute paths included. Without these names it deletes only files
    written later.

    Args:
        runner (Runner | FlexibleRunner): Runner that has just resumed.
        ours (type): Class of hooks that do not delete by these names.
    """
    savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if all(isinstance(hook, ours) for hook in savers):
        return
    info = runner.message_hub.runtime_info
    for key in [*info]:
        if str(key).startswith(('best_ckpt', 'keep_ckpt_ids')):
            del info[key]


class NotDeleting:
    """File backend that deletes nothing.

    Args:
        backend (Any): Backend for everything else.
    """

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def isfile(self, path: str) -> bool:
        """Return False, so that nothing is deleted."""
        return False

    isdir = isfile
