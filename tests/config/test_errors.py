import cv2
import numpy as np
import pytest
from torch.distributed import DistBackendError

from mmcosub.config.errors import explained_errors, note_moment


def test_opencv_fault_before_anything_has_run(capsys):
    empty = np.zeros((0, 0, 3), np.uint8)
    with pytest.raises(SystemExit) as exit_, explained_errors('tool'):
        cv2.resize(empty, (4, 4))
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('tool: error: error: OpenCV')
    assert line.endswith('(--debug shows where)')
    with pytest.raises(cv2.error), explained_errors('tool', debug=True):
        cv2.resize(empty, (4, 4))


def fail_after_an_iteration(error: Exception) -> None:
    note_moment('before_train_iter')
    note_moment('after_train_iter')
    raise error


@pytest.mark.parametrize(
    ('error', 'advice'),
    [
        (
            RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. '),
            'shm',
        ),
        (RuntimeError('DataLoader worker (pid(s) 7) exited unexpectedly'), '/dev/shm'),
        (RuntimeError('unable to mmap 8 bytes from file </torch_7>: x (12)'), 'shm'),
        (RuntimeError('unable to open </torch_7>: Too many open files'), 'ulimit'),
        (RuntimeError('received 0 items of ancdata'), 'ulimit'),
        (RuntimeError('[gloo/pair.cc:5] Connection closed by peer [::1]:9'), 'process'),
        (DistBackendError('NCCL error in: x.cpp:1, remote process exited'), 'process'),
        (MemoryError(), 'lower batch_size'),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            'lower batch_size',
        ),
        (RuntimeError('shapes cannot be multiplied'), ''),
        (ArithmeticError('MemoryError'), ''),
    ],
)
def test_lost_memory_and_processes(
    error: Exception, advice: str, capsys: pytest.CaptureFixture
) -> None:
    """One line, status 1, when training has begun; other faults show where."""
    expected = SystemExit if advice else type(error)
    with pytest.raises(expected) as raised, explained_errors('tool'):
        fail_after_an_iteration(error)
    said = capsys.readouterr().err
    assert advice in said
    if advice:
        assert raised.value.code == 1
        assert said.count('\n') == 1


@pytest.mark.parametrize('error', [EOFError(), ConnectionResetError(104, 'reset')])
def test_worker_that_is_lost_while_it_hands_over_a_batch(
    error: Exception, capsys: pytest.CaptureFixture
) -> None:
    def _try_get_data() -> None:  # as PyTorch's loader
        raise error

    with pytest.raises(SystemExit) as raised, explained_errors('tool'):
        _try_get_data()
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert '/dev/shm' in said
    assert said.count('\n') == 1


def test_library_that_is_interrupted_by_a_lost_worker(
    capsys: pytest.CaptureFixture,
) -> None:
    """PyTorch raises in any line, such as of yapf, which makes another error of it."""
    error = IndexError('tuple index out of range')
    error.__context__ = RuntimeError('DataLoader worker (pid 7) is killed by signal')
    with pytest.raises(SystemExit) as raised, explained_errors('tool'):
        fail_after_an_iteration(error)
    assert raised.value.code == 1
    said = capsys.readouterr().err
    assert 'pid 7' in said
    assert '/dev/shm' in said


def test_full_disk_without_a_name(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit), explained_errors('tool'):
        raise OSError(28, 'No space left on device')
    assert 'Free some space and continue with --resume' in capsys.readouterr().err
