"""Which checkpoints of a folder are whole, and which of them a run goes on from."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from mmcosub.checkpoints import read_checkpoint
from mmcosub.checkpoints.latest import (
    checkpoints_in,
    corruption,
    newest_intact,
    saved_iteration,
)
from mmcosub.files import POINTER, begin_run, note_written

WEIGHTS = {'a.weight': torch.arange(4.0)}
RUN = dict(
    state_dict=WEIGHTS,
    optimizer=dict(state={}),
    message_hub=dict(log_scalars={}),
    meta=dict(epoch=1, iter=2),
)


def save(path: Path, content: dict, time: int) -> Path:
    """Write a file that is of a time, in seconds."""
    torch.save(content, path)
    os.utime(path, (time, time))
    return path


def point(path: Path, time: int) -> None:
    """Have ``last_checkpoint`` name a file."""
    pointer = path.with_name(POINTER)
    pointer.write_text(str(path))
    os.utime(pointer, (time, time))


def test_any_bit_of_the_directory(tmp_path: Path) -> None:
    """What is called whole reads back as it was; nothing raises."""
    file = tmp_path / 'a.pth'
    torch.save(RUN, file)
    content = file.read_bytes()
    begin = content.index(b'PK\x01\x02')
    damaged = 0
    for place in range(begin, len(content), 5):
        for bit in (0, 3, 6):
            wrong = bytearray(content)
            wrong[place] ^= 1 << bit
            file.write_bytes(wrong)
            if corruption(file):
                damaged += 1
            elif saved_iteration(file) is not None:
                read = read_checkpoint(str(file))
                assert torch.equal(read['state_dict']['a.weight'], WEIGHTS['a.weight'])
    assert damaged > 100


class Own:
    """A Python object that a hook or the data may bring."""


def test_saved_iteration(tmp_path: Path) -> None:
    """Weights have none; a Python object beside a run does not hide it."""
    file = tmp_path / 'a.pth'
    for content, expected in (
        (RUN, 2),
        ({**RUN, 'own': Own(), 'set': {Own}, 'list': [Own(), Own]}, 2),
        ({k: v for k, v in RUN.items() if k != 'optimizer'}, None),
        ({**WEIGHTS, 'meta': 'optimizer and message_hub'}, None),
        ({**RUN, 'meta': dict(iter='many')}, None),
    ):
        torch.save(content, file)
        assert saved_iteration(file) == expected
    file.write_bytes(b'')
    assert saved_iteration(file) is None


def test_saved_iteration_runs_nothing(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / 'ran'),)

    torch.save({**RUN, 'meta': dict(iter=3, own=Touch())}, tmp_path / 'a.pth')
    assert saved_iteration(tmp_path / 'a.pth') == 3
    assert not (tmp_path / 'ran').exists()


def run_at(iteration: int) -> dict:
    return {**RUN, 'meta': dict(epoch=1, iter=iteration)}


@pytest.mark.parametrize('pointed', [None, 3, 6])
@pytest.mark.parametrize('listed', [True, False])
def test_iterations_not_times(
    pointed: int | None, listed: bool, tmp_path: Path
) -> None:
    """Newest by iteration, with any file times and a pointer not yet written."""
    for iteration, time in ((3, 9), (6, 2), (12, 5), (9, 7)):
        path = save(tmp_path / f'iter_{iteration}.pth', run_at(iteration), time)
        if listed and iteration != 9:
            note_written(tmp_path, path.name)
    if pointed:
        point(tmp_path / f'iter_{pointed}.pth', 1)
    assert newest_intact(tmp_path, print) == tmp_path / 'iter_12.pth'


def test_after_going_back(tmp_path: Path) -> None:
    """Checkpoints of before that, or of another run, are not the run's any more."""

    def write(*iterations: int) -> None:
        for iteration in iterations:
            note_written(tmp_path, f'iter_{iteration}.pth')
            save(tmp_path / f'iter_{iteration}.pth', run_at(iteration), 1)

    def order() -> list[str]:
        return [path.stem.partition('_')[2] for path in checkpoints_in(tmp_path)]

    write(3, 6, 9)
    begin_run(tmp_path, 'iter_3.pth')
    assert order() == ['3', '9', '6']
    write(4)
    assert order() == ['4', '3', '9', '6']
    note_written(tmp_path, 'iter_5.pth')  # killed before it was there
    assert order()[0] == '4'
    save(tmp_path / 'iter_12.pth', run_at(12), 1)  # copied from elsewhere
    assert order()[0] == '12'
    begin_run(tmp_path, '')
    assert order() == ['12', '9', '6', '4', '3']
    write(2)
    assert order() == ['2', '12', '9', '6', '4', '3']


def test_names_that_look_published(tmp_path: Path) -> None:
    """``filename_tmpl='iter-{:08d}.pth'`` gives MMEngine's names of published ones."""
    older = save(tmp_path / 'iter-00000002.pth', RUN, 2)
    newer = save(tmp_path / 'iter-00000004.pth', RUN, 4)
    save(tmp_path / 'iter_4-0123abcd.pth', dict(state_dict=WEIGHTS), 5)
    said: list[str] = []
    assert newest_intact(tmp_path, said.append) == newer
    point(older, 6)
    assert newest_intact(tmp_path, said.append) == older
    assert said == []
    older.write_bytes(b'')
    assert newest_intact(tmp_path, said.append) == newer
    assert 'iter-00000002.pth, which is corrupt' in said[0]


@pytest.mark.parametrize('pointed', [True, False])
def test_weights_beside_a_run(tmp_path: Path, pointed: bool) -> None:
    run = save(tmp_path / 'iter_2.pth', RUN, 2)
    if pointed:
        point(run, 3)
    converted = save(tmp_path / 'averaged.pth', dict(state_dict=WEIGHTS), 4)
    said: list[str] = []
    assert newest_intact(tmp_path, said.append) == run
    run.unlink()  # then what is there is named, and refused by who resumes
    assert newest_intact(tmp_path, said.append) == converted
    assert said == []


def test_copied_folder(tmp_path: Path) -> None:
    """A copy that goes back by an epoch is not resumed from the original."""
    run, copy = tmp_path / 'run', tmp_path / 'copy'
    for iteration in (3, 6):
        note_written(run, f'iter_{iteration}.pth')
        save(run / f'iter_{iteration}.pth', run_at(iteration), 1)
    point(run / 'iter_6.pth', 1)
    shutil.copytree(run, copy)
    (copy / 'iter_6.pth').unlink()
    assert newest_intact(copy, print) == copy / 'iter_3.pth'


def test_checkpoints_elsewhere(tmp_path: Path) -> None:
    """Are not passed over without a word."""
    (tmp_path / POINTER).write_text('s3://bucket/run/iter_4.pth')
    with pytest.raises(ValueError, match=r'--resume s3://bucket/run/iter_4\.pth'):
        newest_intact(tmp_path, print)
