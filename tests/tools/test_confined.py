"""Training and testing reach no network and write where they are told to alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'

# Runs a script with everything watched that makes a file or a connection.
WATCHED = """
import os, runpy, sys

allowed = tuple(sys.argv[1].split(os.pathsep))
path_of = {
    'open': 0, 'os.mkdir': 0, 'os.rename': 1, 'os.link': 1, 'os.symlink': 1,
    'os.truncate': 0,
}

def watch(event, args):
    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):
        told(f'{event} {args[1:]}')
    if event not in path_of:
        return
    if event == 'open':
        mode, flags = args[1], args[2] or 0
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not writes and not set(str(mode)) & set('wax+'):
            return
    path = args[path_of[event]]
    if isinstance(path, int):
        return
    path = os.path.abspath(os.fsdecode(path))
    if not path.startswith(allowed):
        told(f'{event} {path}')

def told(what):
    print(f'REACHED OUT: {what}', file=sys.stderr, flush=True)
    os._exit(9)

sys.addaudithook(watch)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def watched(tmp_path: Path, *argv: object) -> subprocess.CompletedProcess:
    """Run a script that may write into its work, cache and temporary folders only."""
    home, temporary = tmp_path / 'home', tmp_path / 'temporary'
    for folder in (home, temporary):
        folder.mkdir(exist_ok=True)
    caches = [home / '.cache', home / '.config']
    allowed = [tmp_path / 'w', *caches, temporary, '/dev', '/proc']
    env = {
        **os.environ,
        'HOME': str(home),
        'TMPDIR': str(temporary),
        'PYTHONDONTWRITEBYTECODE': '1',
    }
    for name in ('LOCAL_RANK', 'XDG_CACHE_HOME', 'MPLCONFIGDIR'):
        env.pop(name, None)
    # Set by torch in this process.
    for name in ('TORCHINDUCTOR_CACHE_DIR', 'TRITON_CACHE_DIR'):
        env.pop(name, None)
    roots = os.pathsep.join(map(str, allowed))
    command = [sys.executable, '-c', WATCHED, roots, *map(str, argv)]
    folder = tmp_path / 'elsewhere'
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
def test_train_and_test(config: Path, tmp_path: Path) -> None:
    work = tmp_path / 'w'
    argv = [config, '--work-dir', work, '--co-train', 'cosub']
    done = watched(tmp_path, TOOLS / 'train.py', *argv)
    assert done.returncode == 0, done.stderr[-2000:]
    argv = [config, work / 'iter_4.pth', '--work-dir', work, '--out', work / 'out']
    done = watched(tmp_path, TOOLS / 'test.py', *argv, '--show-dir', work / 'show')
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [*(tmp_path / 'elsewhere').iterdir()]


@pytest.mark.parametrize(
    'code',
    [
        "open('a', 'w')",
        "import os; os.mkdir('a')",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import pathlib; pathlib.Path('a').write_text('')",
    ],
)
def test_the_watch_sees(code: str, tmp_path: Path) -> None:
    script = tmp_path / 'script.py'
    script.write_text(code)
    done = watched(tmp_path, script)
    assert done.returncode == 9
    assert 'REACHED OUT' in done.stderr
