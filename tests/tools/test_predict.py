"""Predicting files without labels."""

import csv
import os
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from conftest import load_tool
from stock import segmentation_config, write_config

from mmcosub.analysis.prediction_files import find_images


@pytest.fixture(scope='module')
def run(
    tmp_path_factory: pytest.TempPathFactory, scenes: Path, train: ModuleType
) -> dict[str, Path]:
    """Config and checkpoint of a tiny co-trained segmentor, and images in folders."""
    folder = tmp_path_factory.mktemp('run')
    cfg = {**segmentation_config(scenes), 'work_dir': str(folder / 'w')}
    config = write_config(folder / 'tiny.py', cfg)
    train.main([str(config), '--co-train', 'cosub'])
    images = folder / 'images'
    for name, split in (('a', 'validation'), ('b/c', 'training')):
        (images / name).mkdir(parents=True)
        shutil.copy(scenes / 'images' / split / '0.jpg', images / name / 'same.jpg')
    return dict(config=config, checkpoint=folder / 'w' / 'iter_4.pth', images=images)


@pytest.fixture
def classifier(classification_config: Path, train: ModuleType) -> list[str]:
    """Config and checkpoint of a tiny classifier."""
    train.main([str(classification_config)])
    checkpoint = classification_config.parent / 'w' / 'epoch_1.pth'
    return [str(classification_config), str(checkpoint)]


def predict(run: dict[str, Path], *argv: object) -> None:
    given = [run['config'], run['checkpoint'], *argv]
    load_tool('predict').main([*map(str, given), '--device', 'cpu'])


def refusal(capsys: pytest.CaptureFixture, run: dict[str, Path], *argv: object) -> str:
    with pytest.raises(SystemExit) as exit_:
        predict(run, *argv)
    assert exit_.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_masks_are_those_of_test(run, scenes, tmp_path, test_tool):
    argv = [run['config'], run['checkpoint'], '--out', tmp_path / 'test']
    test_tool.main([*map(str, argv), '--work-dir', str(tmp_path / 'w')])
    images = scenes / 'images' / 'validation'
    predict(run, images, '--out', tmp_path / 'out', '--batch-size', 3)
    files = sorted((tmp_path / 'test').glob('*.png'))
    assert len(files) == 4
    for file in files:
        ours = cv2.imread(str(tmp_path / 'out' / 'masks' / file.name), -1)
        assert np.array_equal(ours, cv2.imread(str(file), -1))
    assert {*np.unique(ours)} <= {1, 2, 3, 4, 5}  # as in the label files: 0 is no class


def test_all_outputs(run, tmp_path, capsys):
    out = run['images'] / 'out'  # inside the input: not predicted again
    wanted = ('--overlay', '--probabilities', '--uncertainty')
    for _ in range(2):
        predict(run, run['images'], '--out', out, *wanted)
        assert '2 images predicted' in capsys.readouterr().out
    for name in ('a/same', 'b/c/same'):
        mask = cv2.imread(str(out / 'masks' / f'{name}.png'), -1)
        image = cv2.imread(str(run['images'] / f'{name}.jpg'))
        drawn = cv2.imread(str(out / 'overlays' / f'{name}.png'))
        assert drawn.shape[0] >= mask.shape[0]
        assert drawn.shape[1] > mask.shape[1]  # the legend is beside it
        assert not np.array_equal(drawn[: len(image), : image.shape[1]], image)
        kept = np.load(out / 'probabilities' / f'{name}.npz')['probabilities']
        assert kept.dtype == np.float16
        assert kept.sum(axis=0) == pytest.approx(1, abs=5e-3)
        sure = np.sort(kept.astype(float), axis=0)
        clear = sure[-1] - sure[-2] > 2e-3
        assert np.array_equal(kept.argmax(axis=0)[clear] + 1, mask[clear])
        grey = cv2.imread(str(out / 'uncertainty' / f'{name}.png'), -1)
        p = kept.astype(float).clip(1e-9)
        entropy = -(p * np.log(p)).sum(axis=0) / np.log(5)
        assert grey == pytest.approx(255 * entropy, abs=2)
    shutil.rmtree(out)


@pytest.mark.parametrize('rate', [None, 'gone'])
def test_classifier(classifier, tmp_path, rate, scenes):
    images = scenes / 'images' / 'training'
    tool, out = load_tool('predict'), tmp_path / 'out'
    wanted = ['--overlay', '--probabilities', '--uncertainty'] if rate else []
    tool.main([*classifier, str(images), '--out', str(out), *wanted])
    with (out / 'predictions.csv').open() as file:
        rows = [*csv.DictReader(file)]
    assert [Path(row['image']).name for row in rows] == [f'{i}.jpg' for i in range(8)]
    assert {row['class'] for row in rows} <= {'a', 'b'}
    if wanted:
        for row in rows:
            p = torch.tensor([float(row['p(a)']), float(row['p(b)'])])
            assert float(p.max()) == pytest.approx(float(row['probability']))
            expected = -(p * p.log()).sum() / torch.tensor(2.0).log()
            assert float(row['entropy']) == pytest.approx(float(expected), abs=1e-4)
        assert len([*(out / 'overlays').glob('*.png')]) == 8


def test_a_table_of_somebody_else_is_kept(classifier, scenes, tmp_path, capsys):
    (tmp_path / 'predictions.csv').write_text('mine')
    argv = [*classifier, str(scenes / 'images'), '--out', str(tmp_path)]
    with pytest.raises(SystemExit):
        load_tool('predict').main(argv)
    assert 'predictions.csv, which those' in capsys.readouterr().err
    assert (tmp_path / 'predictions.csv').read_text() == 'mine'


def test_rows_are_written_as_they_are_predicted(classifier, scenes, tmp_path):
    from mmengine.config import Config

    from mmcosub.analysis.prediction_files import PredictionFiles
    from mmcosub.engine.prediction import load_model

    model = load_model(Config.fromfile(classifier[0]), classifier[1], 'cpu')
    images = find_images([str(scenes / 'images' / 'training')], tmp_path)
    done = PredictionFiles(model, tmp_path, ()).predict(images, 3)
    for _ in range(4):
        next(done)
    with (tmp_path / 'predictions.csv').open() as file:
        assert len([*csv.DictReader(file)]) == 6


def test_names_that_are_not_utf8(classifier, scenes, tmp_path):
    (tmp_path / 'images').mkdir()
    image = tmp_path / 'images' / os.fsdecode(b'lat\xfcn.jpg')
    shutil.copy(scenes / 'images' / 'training' / '0.jpg', image)
    argv = [*classifier, str(tmp_path / 'images'), '--out', str(tmp_path / 'out')]
    load_tool('predict').main([*argv, '--overlay'])
    written = (tmp_path / 'out' / 'predictions.csv').read_bytes()
    assert os.fsencode(image) in written


def test_refuses(run, tmp_path, capsys):
    out = ('--out', tmp_path / 'out')
    said = refusal(capsys, run, 'nowhere/*.jpg', *out)
    assert 'There is no image at nowhere/*.jpg. Name files, folders' in said
    said = refusal(capsys, run, run['images'], '--out', run['images'])
    assert f'outside of --out {run["images"]}. Name files' in said
    assert '--batch-size must be' in refusal(
        capsys, run, run['images'], *out, '--batch-size', '0'
    )


def test_labels_are_not_overwritten(run, tmp_path, capsys, scenes, test_tool):
    (tmp_path / 'masks').mkdir()
    (tmp_path / 'masks' / 'mine.png').write_bytes(b'mine')
    said = refusal(capsys, run, run['images'], '--out', tmp_path)
    assert f'predictions, such as {tmp_path}/masks/mine.png, which' in said
    labels = scenes / 'annotations' / 'validation'
    before = {file: file.read_bytes() for file in labels.iterdir()}
    argv = [run['config'], run['checkpoint'], '--out', labels, '--work-dir', tmp_path]
    with pytest.raises(SystemExit):
        test_tool.main([*map(str, argv)])
    assert 'which is of the data or' in capsys.readouterr().err
    assert before == {file: file.read_bytes() for file in labels.iterdir()}
    argv[3] = tmp_path / 'masks'  # labels of other images
    with pytest.raises(SystemExit):
        test_tool.main([*map(str, argv)])
    assert 'masks/mine.png, which those' in capsys.readouterr().err
    for _ in range(2):  # predictions may be
        predict(run, run['images'], '--out', tmp_path / 'new')


def test_one_that_cannot_be_read_does_not_stop_the_others(run, tmp_path, capsys):
    images = tmp_path / 'images'
    shutil.copytree(run['images'], images)
    for name in ('broken', 'too'):
        (images / 'a' / f'{name}.jpg').write_bytes(b'nothing')
    with pytest.raises(SystemExit):
        predict(run, images, '--out', tmp_path / 'out')
    said = capsys.readouterr().err
    assert '2 of 4 images could not be predicted (named above)' in said
    for name in ('broken', 'too'):
        assert f'a/{name}.jpg cannot be read' in said
    assert len([*(tmp_path / 'out' / 'masks').rglob('*.png')]) == 2


def test_one_that_the_network_refuses_does_not_stop_the_others(
    run, tmp_path, capsys, monkeypatch
):
    from mmseg.models import EncoderDecoder

    def refusing(self, inputs, samples=None):
        if any(sample.img_path.endswith('b.png') for sample in samples):
            raise RuntimeError('too narrow')
        return stock(self, inputs, samples)

    stock = EncoderDecoder.predict
    monkeypatch.setattr(EncoderDecoder, 'predict', refusing)
    for name in 'abc':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros((32, 32, 3), np.uint8))
    out = tmp_path / 'out'
    with pytest.raises(SystemExit):
        predict(run, tmp_path, '--out', out, '--batch-size', 3)
    *_, named, said = capsys.readouterr().err.strip().splitlines()
    assert '1 of 3 images could not be predicted (named above)' in said
    assert 'b.png (RuntimeError: too narrow' in named
    assert {p.name for p in (out / 'masks').iterdir()} == {'a.png', 'c.png'}


def test_another_range_of_values_is_named(run, tmp_path, capsys):
    dark = np.random.default_rng(0).integers(0, 4000, (64, 64, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / 'dark.png'), dark)  # 12 bits in 16
    statistics = ('mean', 120), ('std', 60)
    normalise = [f'model.data_preprocessor.{k}=[{v},{v},{v}]' for k, v in statistics]
    argv = ['--out', tmp_path / 'out', '--cfg-options', *normalise]
    predict(run, tmp_path / 'dark.png', *argv)
    assert 'another range of values' in capsys.readouterr().err
    predict(run, tmp_path / 'dark.png', run['images'], *argv)
    assert 'range of values' not in capsys.readouterr().err


def test_names(tmp_path):
    for name in ('x/1.jpg', 'x/deep/1.jpg', 'y/1.jpg', 'y/notes.txt', 'y/2.npy'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    x, y, out = str(tmp_path / 'x'), str(tmp_path / 'y'), tmp_path / 'out'
    assert [*find_images([x], out).values()] == ['1', 'deep/1']
    assert [*find_images([x, y], out).values()] == ['x/1', 'x/deep/1', 'y/1']
    assert [*find_images([y], out, ['.npy']).values()] == ['1', '2']
    roundabout = tmp_path / 'z' / '..' / 'x' / 'deep'
    assert [*find_images([x], roundabout).values()] == ['1']
    found = find_images([f'{tmp_path}/**/1.jpg', x], out)  # each once
    assert sorted(found.values()) == ['x/1', 'x/deep/1', 'y/1']
    (tmp_path / 'x' / '1.png').touch()
    assert sorted(find_images([x], out).values()) == ['1.jpg', '1.png', 'deep/1.jpg']


@pytest.mark.parametrize('given', ['a folder that is not there', 'nothing'])
def test_testing_without_labels_names_predict(
    run, tmp_path, capsys, test_tool, scenes, given
):
    cfg = segmentation_config(scenes)
    prefix = cfg['test_dataloader']['dataset']['data_prefix']
    if given == 'nothing':
        del prefix['seg_map_path']
    else:
        prefix['seg_map_path'] = 'none'
    config = write_config(tmp_path / 'c.py', {**cfg, 'work_dir': str(tmp_path)})
    argv = [str(config), str(run['checkpoint']), '--out', str(tmp_path / 'o')]
    with pytest.raises(SystemExit) as exit_:
        test_tool.main(argv)
    assert exit_.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'without labels: mmcosub predict CONFIG CHECKPOINT IMAGES --out DIR' in said
