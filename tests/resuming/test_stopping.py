import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mmcosub.resuming.stopping import StopRequest


@pytest.fixture
def hangup() -> Iterator[None]:
    """Restores what SIGHUP does."""
    before = signal.getsignal(signal.SIGHUP)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures('hangup')
@pytest.mark.parametrize('ignored', [False, True])
def test_dropped_connection(ignored: bool) -> None:
    """It stops a run, but not one that ``nohup`` has started."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert request.agreed() == (0 if ignored else signal.SIGHUP)


@pytest.mark.parametrize('error', [BrokenPipeError, RuntimeError])
def test_signal_that_cannot_be_told(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody reads, or the signal came in the middle of another print."""

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr('builtins.print', fail)
    with StopRequest() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.agreed() == signal.SIGTERM


@pytest.mark.slow
def test_signals_of_other_systems() -> None:
    """Windows has two of them, and neither it nor macOS says who sent one."""
    code = (
        'import signal, torch, mmengine.runner\n'
        "for name in ('SIGUSR1', 'SIGHUP', 'sigwaitinfo', 'pthread_sigmask'):\n"
        '    delattr(signal, name)\n'
        'from mmcosub.resuming.stopping import StopRequest\n'
        'from mmcosub.resuming.seeding import start_worker\n'
        'with StopRequest() as request:\n'
        '    signal.raise_signal(signal.SIGTERM)\n'
        '    assert request.agreed() == signal.SIGTERM\n'
        'start_worker(None, 0)\n'
        'signal.raise_signal(signal.SIGTERM)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], check=False)
    assert done.returncode == -signal.SIGTERM
