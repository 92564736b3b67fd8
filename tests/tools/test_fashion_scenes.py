import cv2
import numpy as np
import pytest
from conftest import load_tool
from datasets.fashion import write_fashion

tool = load_tool('dataset_converters/fashion_scenes')


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setattr(tool, 'VALIDATION', 2)
    source = write_fashion(tmp_path / 'source')

    def run(*options):
        out = tmp_path / 'out'
        counts = ['--train', '3', '--val', '2', '--test', '1']
        tool.main(['--source', str(source), '--out', str(out), *counts, *options])
        return {p.relative_to(out).as_posix(): p for p in out.rglob('*.png')}

    return run


def test_layout(make):
    files = make('--size', '96')
    assert sorted(files) == sorted(
        f'{kind}/{part}/{i:05d}.png'
        for kind in ('images', 'annotations')
        for part, count in (('training', 3), ('validation', 2), ('test', 1))
        for i in range(count)
    )
    assert cv2.imread(str(files['images/test/00000.png'])).shape == (96, 96, 3)
    label = cv2.imread(str(files['annotations/training/00000.png']), -1)
    assert label.shape == (96, 96)
    assert 0 < label.max() <= 10


def test_parts_have_no_article_in_common(make, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        'mmcosub.datasets.synthetic.fashion_scenes.make_scene',
        lambda articles, size, rng, layout, **more: (
            seen.setdefault(len(seen), articles) and np.zeros((2, 8, 8), np.uint8)
        ),
    )
    make()
    values = [
        {*np.unique(of_class[:, 14, 14])} for of_class in (a[0] for a in seen.values())
    ]
    assert values[0] == {20, 22, 24, 26}  # of the first of three training scenes
    assert values[3] == {28, 30}
    assert values[5] == {200, 202}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--size', '16'], '--size must be from 32 to 512, not 16'),
        (
            ['--distractors', '3', '1'],
            '--distractors must be two numbers of at least 0',
        ),
        (['--articles', '-1'], '--articles must be 0 for all, or more, not -1'),
        (['--brightest', '300'], '--brightest must be from 0 to 255, not 300'),
        (['--scale', '.1', '.5'], '--size 160 or more'),
        (['--items', '3', '2'], '--items must be'),
        (['--source', '/nowhere'], 'apt-get install dataset-fashion-mnist'),
        (['--train', '0'], '--train must be at least 1'),
    ],
)
def test_bad_arguments(make, capsys, options, message):
    with pytest.raises(SystemExit):
        make(*options)
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
