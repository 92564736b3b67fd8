import cv2
import numpy as np
import pytest
from conftest import load_tool

tool = load_tool('analysis_tools/browse_dataset')


@pytest.mark.parametrize('options', [(), ('--original',), ('--split', 'val')])
def test_pictures(config, tmp_path, capsys, options):
    out = tmp_path / 'pictures'
    tool.main([str(config), '--number', '3', '--out', str(out), *options])
    pictures = sorted(out.glob('*.png'))
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).std() > 10
    assert 'Wrote 3 pictures' in capsys.readouterr().out


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
    with pytest.raises(SystemExit):
        tool.main([str(config), '--cfg-options', root])
    assert 'docs/data.md' in capsys.readouterr().err
