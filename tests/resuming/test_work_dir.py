"""One training at a time in a work directory, and no ranks without their torchrun."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from numbers_run import numbers_run

from mmcosub.resuming.work_dir import LOCK, end_with_torchrun, locked


@contextmanager
def forked(act: Callable[[Callable], None]) -> Iterator[int]:
    """A process that acts, says that it is ready, and waits; its number."""
    out, into = os.pipe()
    process = os.fork()
    if not process:
        try:
            act(lambda: (os.write(into, b'1'), time.sleep(60)))
        finally:
            os._exit(3)
    assert os.read(out, 1) == b'1'
    try:
        yield process
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@pytest.fixture
def other(tmp_path: Path) -> Callable[[Callable], None]:
    """Trains in ``tmp_path``."""

    def act(ready: Callable) -> None:
        with locked(str(tmp_path), print):
            ready()

    return act


def is_in_use(work_dir: str) -> bool:
    try:
        with locked(work_dir, print):
            return False
    except ValueError:
        return True


def test_second_training_is_refused(other: Callable, tmp_path: Path) -> None:
    (tmp_path / 'bad_data.txt').touch()
    with forked(other) as process:
        run = numbers_run(tmp_path, 2, 1)
        said = rf'{tmp_path}: process {process} on .*--work-dir'
        with pytest.raises(ValueError, match=said):
            run.train()
        assert is_in_use(str(tmp_path))
        assert not [*tmp_path.glob('*.py')]  # the config stays the other one's
        assert not [*tmp_path.glob('*.pth')]
        assert (tmp_path / 'bad_data.txt').exists()  # and so does its list
    assert not is_in_use(str(tmp_path))
    run.train()
    numbers_run(tmp_path, 2, 2).train()  # of the same process, once that has ended


def test_two_trainings_do_not_share_a_folder_of_checkpoints(
    other: Callable, tmp_path: Path
) -> None:
    hooks = dict(checkpoint=dict(type='CheckpointHook', out_dir=str(tmp_path.parent)))
    work_dir = tmp_path / 'seed1' / tmp_path.name
    run = numbers_run(work_dir, 2, 1, default_hooks=hooks)
    with forked(other), pytest.raises(ValueError, match=rf'uses {tmp_path}: process'):
        run.train()
    run.train()
    assert [*tmp_path.glob('*.pth')]


def test_workers_of_a_killed_training_keep_nothing_locked(tmp_path: Path) -> None:
    def act(ready: Callable) -> None:
        with locked(str(tmp_path), print):
            if not os.fork():
                time.sleep(3)
                os._exit(0)
            ready()

    with forked(act):
        assert is_in_use(str(tmp_path))
    with locked(str(tmp_path), print):
        pass


def test_link_in_place_of_the_lock(tmp_path: Path) -> None:
    (tmp_path / 'mine').write_text('mine')
    (tmp_path / LOCK).symlink_to(tmp_path / 'mine')
    with pytest.raises(OSError, match='symbolic link'), locked(str(tmp_path), print):
        pass
    assert (tmp_path / 'mine').read_text() == 'mine'


@pytest.mark.parametrize('url', ['s3://bucket/run', 'https://a.org/run', 'file:///tmp'])
def test_urls(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf'{url}.* is a URL.*--work-dir'):
        numbers_run(url, 2, 1)  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize('by_torchrun', [True, False])
def test_ranks_end_with_torchrun(
    by_torchrun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And others go on without the shell that started them."""
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    if by_torchrun:
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', '1')
    out, into = os.pipe()

    def start(ready: Callable) -> None:
        if os.fork():
            time.sleep(60)
        monkeypatch.setattr('mmcosub.resuming.work_dir._PARENT', os.getppid())
        end_with_torchrun()
        os.write(into, str(os.getpid()).encode())
        ready()

    with forked(start):
        rank = int(os.read(out, 20))
    until = time.monotonic() + 2
    while is_alive(rank) and time.monotonic() < until:
        time.sleep(0.01)
    assert is_alive(rank) != by_torchrun
    if is_alive(rank):
        os.kill(rank, signal.SIGKILL)


def is_alive(process: int) -> bool:
    """Whether a process runs, rather than waits to be reaped."""
    try:
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in 'ZX'
