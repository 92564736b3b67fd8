"""A folder of made pictures is of one set of settings, whenever it is stopped."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmcosub.datasets.made_folder import begin_folder, end_folder


def make(root: Path, value: int, overwrite: bool = False) -> list[int]:
    """Make four pictures of a value; the values of all that are there then."""
    record, settings = root / 'record.json', dict(value=value)
    if begin_folder(record, settings, ['a'], overwrite):
        for i in range(4):
            cv2.imwrite(str(root / f'a/{i}.png'), np.full((1, 1), value, np.uint8))
        end_folder(record, settings)
    return values(root)


def values(root: Path) -> list[int]:
    return [int(cv2.imread(str(p), 0)[0, 0]) for p in sorted(root.glob('a/*.png'))]


@pytest.mark.parametrize('then', [1, 2])
def test_stopped_while_old_pictures_are_removed(tmp_path, monkeypatch, then):
    assert make(tmp_path, 1) == [1] * 4
    unlink, left = Path.unlink, iter(range(2))

    def stop_at_the_third(path, missing_ok=False):
        if path.suffix == '.png' and next(left, None) is None:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, 'unlink', stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, 2, overwrite=True)
    assert values(tmp_path) == [1] * 2
    with pytest.raises(ValueError, match=r'no record.json .* Pass --overwrite'):
        make(tmp_path, then)
    assert make(tmp_path, then, overwrite=True) == [then] * 4


@pytest.mark.parametrize('overwrite', [False, True])
def test_pictures_of_a_user_stay(tmp_path, overwrite):
    (tmp_path / 'a').mkdir()
    cv2.imwrite(str(tmp_path / 'a' / '0.png'), np.full((1, 1), 9, np.uint8))
    with pytest.raises(ValueError, match=r'no record.json .*\. Choose another --out'):
        make(tmp_path, 1, overwrite)
    assert values(tmp_path) == [9]


def test_other_settings(tmp_path):
    make(tmp_path, 1)
    with pytest.raises(ValueError, match=r"other settings, {'value': 1}"):
        make(tmp_path, 2)
    assert make(tmp_path, 2, overwrite=True) == [2] * 4


@pytest.mark.parametrize(
    'content',
    [
        '',
        '{"settings"',
        '[]',
        '{"complete": true}',
        '{"settings": {"value": 1}, "complete": false}',
    ],
)
def test_record_of_no_use(tmp_path, content):
    make(tmp_path, 1)
    (tmp_path / 'record.json').write_text(content)
    with pytest.raises(ValueError, match=r'no record.json of a .*--overwrite'):
        make(tmp_path, 1)
    assert make(tmp_path, 2, overwrite=True) == [2] * 4
