import os
import signal
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
