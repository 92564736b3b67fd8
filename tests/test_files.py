"""Atomic writing, and the list of the files that may be deleted."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from mmcosub.files import (
    WRITTEN,
    atomic_write,
    note_written,
    remove_partial,
    written_in,
)


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / 'outside'
    outside.write_text('mine')
    folder = tmp_path / 'w'
    folder.mkdir()
    for name in ('a.pth', 'a.pth.partial', f'{WRITTEN}.partial'):
        (folder / name).symlink_to(outside)
    with atomic_write(folder / 'a.pth') as file:
        file.write_text('new')
    note_written(folder, 'a.pth')
    assert (folder / 'a.pth').read_text() == 'new'
    assert outside.read_text() == 'mine'


def test_folders_that_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, 'Invalid argument')

    monkeypatch.setattr(os, 'fsync', flush)
    with atomic_write(tmp_path / 'a') as file:
        file.write_text('new')
    assert (tmp_path / 'a').read_text() == 'new'


def test_only_own_plain_files_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / 'w'
    (folder / 'sub').mkdir(parents=True)
    for path in ('w/a.pth', 'w/b.pth', 'w/sub/c.pth', 'd.pth'):
        (tmp_path / path).touch()
    (folder / 'link.pth').symlink_to(tmp_path / 'd.pth')
    names = ['sub/c.pth', '../d.pth', str(tmp_path / 'd.pth'), 'sub', '', '..', 'gone']
    names += ['link.pth', 'b.pth', 'a.pth']
    (folder / WRITTEN).write_text(json.dumps(dict(written=names)))
    assert written_in(folder) == ['b.pth', 'a.pth']
    note_written(folder, 'b.pth')
    assert written_in(folder) == ['a.pth', 'b.pth']


@pytest.mark.parametrize(
    'content', [b'', b'\xff\x00/..', b'[1]', b'{"written": 3}', b'[' * 9999, None]
)
def test_any_list(content: bytes | None, tmp_path: Path) -> None:
    if content is None:
        (tmp_path / WRITTEN).mkdir()
    else:
        (tmp_path / WRITTEN).write_bytes(content)
    assert written_in(tmp_path) == []


def test_remove_partial_of_own_files_only(tmp_path: Path) -> None:
    for name in ('a.pth', 'a.pth.partial', 'download.zip.partial'):
        (tmp_path / name).touch()
    note_written(tmp_path, 'a.pth')
    note_written(tmp_path, 'b.pth')  # killed while it was being written
    (tmp_path / 'b.pth.partial').touch()
    remove_partial(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {'a.pth', 'download.zip.partial', WRITTEN}
