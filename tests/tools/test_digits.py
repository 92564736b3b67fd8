import cv2
import pytest
from conftest import load_tool
from mmpretrain.datasets import CustomDataset

from mmcosub.datasets import split_digits

tool = load_tool('dataset_converters/digits')


@pytest.fixture(autouse=True)
def few_digits(monkeypatch):
    """Three digits of each class for training, two for validation."""
    parts = split_digits()
    few = {
        part: [of_class[:count] for of_class in parts[part]]
        for part, count in (('training', 3), ('validation', 2))
    }
    split = 'mmcosub.datasets.digit_scenes.split_digits'
    monkeypatch.setattr(split, lambda: few)


@pytest.fixture
def make(tmp_path):
    def run(*options, copies='2'):
        out = tmp_path / 'digits'
        tool.main(['--out', str(out), '--size', '24', '--copies', copies, *options])
        return {p.relative_to(out).as_posix(): p for p in out.rglob('*.png')}

    return run


def test_layout(make, tmp_path):
    files = make()
    assert sorted(files) == sorted(
        f'{part}/{digit}/{i:05d}.png'
        for part, count in (('training', 6), ('validation', 2))
        for digit in range(10)
        for i in range(count)
    )
    image = cv2.imread(str(files['training/7/00005.png']))
    assert image.shape == (24, 24, 3)
    dataset = CustomDataset(str(tmp_path / 'digits'), 'training')
    assert ''.join(dataset.CLASSES) == '0123456789'
    assert len(dataset) == 60


def test_all_pictures_differ(make):
    contents = [path.read_bytes() for path in make().values()]
    assert len({*contents}) == len(contents)


def test_a_second_run_does_nothing(make, capsys):
    before = {name: p.stat().st_mtime_ns for name, p in make().items()}
    after = {name: p.stat().st_mtime_ns for name, p in make().items()}
    assert before == after
    assert 'is ready' in capsys.readouterr().out


def test_other_settings_need_overwrite(make, capsys):
    make()
    with pytest.raises(SystemExit):
        make(copies='1')
    assert '--overwrite' in capsys.readouterr().err
    assert len(make('--overwrite', copies='1')) == 50


def test_a_folder_of_something_else_is_left_alone(make, tmp_path, capsys):
    (tmp_path / 'digits').mkdir()
    (tmp_path / 'digits' / 'thesis.tex').touch()
    with pytest.raises(SystemExit):
        make()
    assert 'is not empty' in capsys.readouterr().err


@pytest.mark.parametrize('option', ['--size', '--copies', '--seed'])
def test_bad_arguments(make, capsys, option):
    with pytest.raises(SystemExit):
        make(option, '-1')
    assert '--size at least 16' in capsys.readouterr().err
