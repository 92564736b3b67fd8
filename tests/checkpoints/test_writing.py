"""Which checkpoints of a folder are whole, and which of them a run goes on from."""

import os
from pathlib import Path

import pytest
import torch

from mmcosub.checkpoints import read_checkpoint
from mmcosub.checkpoints.writing import POINTER, damage, has_run, newest_whole

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
            if damage(file):
                damaged += 1
            elif has_run(file):
                read = read_checkpoint(str(file))
                assert torch.equal(read['state_dict']['a.weight'], WEIGHTS['a.weight'])
    assert damaged > 100


class Own:
    """A Python object that a hook or the data may bring."""


def test_has_run(tmp_path: Path) -> None:
    file = tmp_path / 'a.pth'
    for content, expected in (
        (RUN, True),
        ({**RUN, 'own': Own()}, True),
        ({k: v for k, v in RUN.items() if k != 'optimizer'}, False),
        ({**WEIGHTS, 'meta': 'optimizer and message_hub'}, False),
    ):
        torch.save(content, file)
        assert has_run(file) is expected
    file.write_bytes(b'')
    assert not has_run(file)


def test_names_that_look_published(tmp_path: Path) -> None:
    """``filename_tmpl='iter-{:08d}.pth'`` gives MMEngine's names of published ones."""
    older = save(tmp_path / 'iter-00000002.pth', RUN, 2)
    newer = save(tmp_path / 'iter-00000004.pth', RUN, 4)
    save(tmp_path / 'iter_4-0123abcd.pth', dict(state_dict=WEIGHTS), 5)
    said: list[str] = []
    assert newest_whole(tmp_path, said.append) == newer
    point(older, 6)
    assert newest_whole(tmp_path, said.append) == older
    assert said == []
    older.write_bytes(b'')
    assert newest_whole(tmp_path, said.append) == newer
    assert 'iter-00000002.pth, which is not whole' in said[0]


@pytest.mark.parametrize('pointed', [True, False])
def test_weights_beside_a_run(tmp_path: Path, pointed: bool) -> None:
    run = save(tmp_path / 'iter_2.pth', RUN, 2)
    if pointed:
        point(run, 3)
    converted = save(tmp_path / 'averaged.pth', dict(state_dict=WEIGHTS), 4)
    said: list[str] = []
    assert newest_whole(tmp_path, said.append) == run
    assert [str(converted) in each for each in said] == [True]
    run.unlink()  # then what is there is named, and refused by who resumes
    assert newest_whole(tmp_path, said.append) == converted
