import cv2
import pytest
from conftest import load_tool

tool = load_tool('dataset_converters/digit_scenes')


@pytest.fixture
def make(tmp_path):
    def run(*options, train='3'):
        out = tmp_path / 'scenes'
        tool.main(
            [
                '--out',
                str(out),
                '--train',
                train,
                '--val',
                '2',
                '--size',
                '32',
                *options,
            ]
        )
        return {p.relative_to(out).as_posix(): p for p in out.rglob('*.png')}

    return run


def test_layout(make):
    files = make()
    assert sorted(files) == sorted(
        f'{kind}/{part}/{i:05d}.png'
        for kind in ('images', 'annotations')
        for part, count in (('training', 3), ('validation', 2))
        for i in range(count)
    )
    image = cv2.imread(str(files['images/training/00000.png']))
    label = cv2.imread(str(files['annotations/training/00000.png']), -1)
    assert image.shape == (32, 32, 3)
    assert label.shape == (32, 32)
    assert 0 < label.max() <= 10


def test_a_second_run_does_nothing(make, capsys):
    before = {name: p.stat().st_mtime_ns for name, p in make().items()}
    after = {name: p.stat().st_mtime_ns for name, p in make().items()}
    assert before == after
    assert 'is ready' in capsys.readouterr().out


def test_other_settings_need_overwrite(make, capsys):
    make()
    with pytest.raises(SystemExit):
        make(train='2')
    assert '--overwrite' in capsys.readouterr().err
    assert len(make('--overwrite', train='2')) == 8


def test_a_folder_of_something_else_is_left_alone(make, tmp_path, capsys):
    (tmp_path / 'scenes').mkdir()
    (tmp_path / 'scenes' / 'thesis.tex').touch()
    with pytest.raises(SystemExit):
        make()
    assert 'is not empty' in capsys.readouterr().err


def test_bad_arguments(make, capsys):
    with pytest.raises(SystemExit):
        make('--size', '8')
    assert '--size 32 or more' in capsys.readouterr().err
