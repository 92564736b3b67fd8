import copy
import shutil

import cv2
import numpy as np
import pytest
from conftest import load_tool
from stock import segmentation_config, write_config

tool = load_tool('analysis_tools/browse_dataset')


@pytest.mark.parametrize('options', [(), ('--split', 'val')])
def test_pictures(config, tmp_path, capsys, options):
    out = tmp_path / 'pictures'
    tool.main([str(config), '--number', '3', '--out', str(out), *options])
    pictures = sorted(out.glob('*.png'))
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).std() > 10
    assert 'Wrote 3 pictures' in capsys.readouterr().out


def test_unlabelled(config, scenes, tmp_path, capsys):
    out = tmp_path / 'pictures'
    images = scenes / 'images'
    tool.main(
        [str(config), '--unlabelled', str(images), '--number', '3', '--out', str(out)]
    )
    pictures = [cv2.imread(str(path)) for path in sorted(out.glob('*.png'))]
    assert len(pictures) == 3
    for picture in pictures:
        weak, strong, mixed = np.split(picture, 3, axis=1)
        assert (weak != strong).any()
        other = (strong != mixed).any(2).mean()
        assert 0.3 < other < 0.6  # a box of half of the image
    assert 'of 3 unlabelled images' in capsys.readouterr().out


def test_unlabelled_images_of_several_sizes(config, tmp_path):
    for size in (20, 32):  # smaller than the crop and as large
        image = np.random.default_rng(size).integers(0, 255, (size, 32, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f'{size}.png'), image)
    out = tmp_path / 'pictures'
    tool.main([str(config), '--unlabelled', str(tmp_path), '--out', str(out)])
    shapes = {cv2.imread(str(path)).shape for path in out.glob('*.png')}
    assert len(shapes) == 1


def test_unlabelled_list_that_is_an_image(config, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / '1.png'), np.zeros((8, 8), np.uint8))
    said = refusal(capsys, config, '--unlabelled', tmp_path / '1.png')
    assert '1.png is no text file in UTF-8' in said


def test_drawing():
    image = np.full((64, 64, 3), 100, np.uint8)
    label = np.zeros((64, 64), np.uint8)
    label[:, 32:] = 255
    palette = np.array([[200, 0, 0], [0, 200, 0]], np.uint8)
    picture = tool.draw(image, label, ['red', 'green'], palette)
    first, second = picture[100, 20], picture[100, 324 + 20]
    assert first.tolist() == [100, 100, 100]
    assert second.tolist() == [35, 35, 165]  # BGR, 35 % image and 65 % colour
    assert picture[100, 324 + 300].tolist() == [100, 100, 100]  # ignored: left bare


def test_missing_data(config, tmp_path, capsys):
    root = 'train_dataloader.dataset.data_root=/nowhere'
    assert 'prepare the data' in refusal(capsys, config, '--cfg-options', root)


def refusal(capsys, *argv):
    """What it says of arguments that it refuses, in one line."""
    with pytest.raises(SystemExit) as exit_:
        tool.main([*map(str, argv)])
    assert exit_.value.code == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


def wrapped(scenes, wrap):
    cfg = segmentation_config(scenes)
    loader = cfg['train_dataloader']
    loader['dataset'] = wrap(loader['dataset'])
    return cfg


def twice(data):
    return dict(type='ConcatDataset', datasets=[data, copy.deepcopy(data)])


def mixed(data):
    """Four images in one, as YOLO does it: the wrapper has transforms, too."""
    data['pipeline'] = data['pipeline'][:2]
    mosaic = dict(type='RandomMosaic', prob=1.0, img_scale=(32, 32))
    steps = [mosaic, dict(type='PackSegInputs')]
    return dict(type='MultiImageMixDataset', dataset=data, pipeline=steps)


@pytest.mark.parametrize('wrap', [twice, mixed])
def test_wrapped_datasets(scenes, tmp_path, wrap):
    config = write_config(tmp_path / 'c.py', wrapped(scenes, wrap))
    out = tmp_path / 'pictures'
    tool.main([str(config), '--number', '2', '--out', str(out)])
    pictures = [cv2.imread(str(path)) for path in out.iterdir()]
    assert len(pictures) == 2
    side = 324  # 32 and 64 pixels are drawn as 320; 4 are between
    for picture in pictures:
        assert picture.shape[1] > 2 * side  # the legend is beside it
        assert (picture[:, side - 4 : side] == 255).all()
        assert (picture[:, side - 5] != 255).any()


def test_images_of_one_name_have_each_a_picture(scenes, tmp_path):
    for kind, suffix in (('images', 'jpg'), ('annotations', 'png')):
        for city in 'pq':
            folder = tmp_path / kind / 'training' / city
            folder.mkdir(parents=True)
            shutil.copy(scenes / kind / 'training' / f'0.{suffix}', folder)
    cfg = wrapped(scenes, lambda data: {**data, 'data_root': str(tmp_path)})
    config, out = write_config(tmp_path / 'c.py', cfg), tmp_path / 'pictures'
    tool.main([str(config), '--out', str(out)])
    assert sorted(p.name for p in out.iterdir()) == ['00000_0.png', '00001_0.png']


def test_refusals(scenes, config, tmp_path, capsys):
    assert '--number -1 must be 1 or more' in refusal(capsys, config, '--number', -1)
    out = tmp_path / 'pictures'
    (out / '00000_0.png').mkdir(parents=True)
    said = refusal(capsys, config, '--number', 1, '--out', out)
    assert '00000_0.png: Is a directory' in said
    empty = tmp_path / 'images' / 'training'
    empty.mkdir(parents=True)
    root = f'train_dataloader.dataset.data_root={tmp_path}'
    said = refusal(capsys, config, '--cfg-options', root)
    assert f'{empty} has no file *.jpg' in said
