"""Runs whose output nobody reads, or for whose log there is no room."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numbers_run import numbers_run

from benchmarks.fault_settings import Setting, arguments, small_files
from benchmarks.kills import losses
from benchmarks.processes import finish, start
from mmcosub.checkpoints import checkpoints_in
from mmcosub.resuming.stopping import STATUS


@pytest.mark.slow
@pytest.mark.parametrize('signal_', [None, signal.SIGTERM, signal.SIGHUP])
def test_run_that_nobody_reads(signal_: signal.Signals | None, tmp_path: Path) -> None:
    """Its reader ends after the first line, before the first iteration."""
    pipe, work_dir = tmp_path / 'pipe', tmp_path / 'w'
    os.mkfifo(pipe)
    iterations = 5000 if signal_ else 6
    argv = [*arguments(Setting(), tmp_path, iterations), '--work-dir', str(work_dir)]
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    (process,) = start('train.py', argv, pipe)
    wait(lambda: _read(reader))
    os.close(reader)
    if signal_:
        wait(lambda: losses(work_dir))
        os.kill(process.pid, signal_)
    assert finish([process], 120) == [STATUS if signal_ else 0]
    assert checkpoints_in(work_dir)


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def _read(file: int) -> bytes:
    try:
        return os.read(file, 100)
    except BlockingIOError:
        return b''


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
@pytest.mark.slow
def test_status_where_nobody_reads(stream: str) -> None:
    """Python's own exit would be 120, or 1 with a traceback."""
    script = (
        'import sys\n'
        'from mmcosub.config.errors import explained_errors\n'
        'with explained_errors("tool"):\n'
        f'    print("a" * 100_000, file=sys.{stream})\n'
        f'    print("b", file=sys.{stream})\n'
        '    raise ValueError("no number")\n'
    )
    read, write = os.pipe()
    os.close(read)
    streams = dict.fromkeys(('stdout', 'stderr'), subprocess.PIPE) | {stream: write}
    done = subprocess.run([sys.executable, '-c', script], text=True, **streams)
    os.close(write)
    assert done.returncode == 2
    if stream == 'stdout':
        assert done.stderr == 'tool: error: no number\n'


def test_full_disk_under_the_log(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """One line, once, and the run goes on."""
    run = numbers_run(tmp_path, batch=2, epochs=2)

    class Filling(Hook):
        def before_train(self, runner: Runner) -> None:
            runner.logger.info('a long line' * 20_000)

    run.register_hook(Filling())
    with small_files(100_000):
        run.train()
    err = capfd.readouterr().err
    assert err.count('File too large. The run continues') == 1
    assert 'Traceback' not in err
    assert (tmp_path / 'epoch_2.pth').is_file()
