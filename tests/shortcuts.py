"""What runs in the tests do without, since it takes most of the time of tiny ones."""

import ast
import os

import yapf.yapflib.yapf_api
from mmengine.utils import version_utils


def take_shortcuts() -> None:
    """Change MMEngine and the system calls of this process; not of those it starts."""
    # Each config is laid out six times in a run, to be logged and written.
    yapf.yapflib.yapf_api.FormatCode = _checked
    # MMEngine asks Git for the commit at every checkpoint.
    version_utils._minimal_ext_cmd = lambda cmd: b'0123456789abcdef' * 2 + b'01234567'
    # No test takes the power away, and a checkpoint waits seven times for the disk.
    os.fsync = lambda file: None


def _checked(code: str, **_: object) -> tuple[str, bool]:
    ast.parse(code)
    return code, False
