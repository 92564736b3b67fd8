"""Runs of the launch scripts."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[1] / 'tools'


def run(script: str, *argv: object, **env: object) -> subprocess.CompletedProcess:
    """Run a launch script with this interpreter."""
    variables = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    # A rank is for the launcher to give.
    variables.pop('LOCAL_RANK', None)
    variables.update({key: str(value) for key, value in env.items()})
    command = [str(TOOLS / script), *map(str, argv)]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]
