import cv2
import pytest
from conftest import load_tool
from datasets.fashion import write_fashion
from mmpretrain.datasets import CustomDataset

tool = load_tool('dataset_converters/fashion_mnist')


@pytest.fixture
def make(tmp_path):
    source = write_fashion(tmp_path / 'source')

    def run(*options, source=source):
        out = tmp_path / 'out'
        tool.main(['--source', str(source), '--out', str(out), '--val', '2', *options])
        return {p.relative_to(out).as_posix(): p for p in out.rglob('*.png')}

    return run


def test_layout(make, tmp_path):
    files = make()
    counts = dict(training=4, validation=2, test=2)
    assert len(files) == 10 * sum(counts.values())
    for part, count in counts.items():
        dataset = CustomDataset(str(tmp_path / 'out'), part)
        assert len(dataset) == 10 * count
        assert {'trouser', 'ankle_boot'} < {*dataset.CLASSES}
    picture = cv2.imread(str(files['validation/trouser/00001.png']), -1)
    assert picture.shape == (28, 28)
    assert picture[14, 14] == 20 + 2 * 5  # the last of training's six


def test_fewer_for_training(make):
    files = make('--train', '1')
    assert sum(name.startswith('training/') for name in files) == 10
    assert cv2.imread(str(files['training/bag/00000.png']), -1)[14, 14] == 20


def test_a_second_run_does_nothing_and_other_settings_are_refused(make, capsys):
    before = {name: p.stat().st_mtime_ns for name, p in make().items()}
    assert {name: p.stat().st_mtime_ns for name, p in make().items()} == before
    assert 'is ready' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        make('--train', '3')
    assert '--overwrite' in capsys.readouterr().err
    assert len(make('--train', '3', '--overwrite')) == 10 * (3 + 2 + 2)


def test_missing_source(make, tmp_path, capsys):
    with pytest.raises(SystemExit):
        make(source=tmp_path / 'nowhere')
    assert 'apt-get install dataset-fashion-mnist' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_bad_arguments(make, capsys):
    with pytest.raises(SystemExit):
        make('--train', '-1')
    assert '--train must not be negative' in capsys.readouterr().err
