import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from stock import segmentation_config
from tiny import one_channel

from mmcosub.analysis.pictures import (
    check_picture_name,
    draw_prediction,
    write_picture,
)
from mmcosub.engine.prediction import load_model, read_image

GREY = np.full((2, 3, 3), 128, np.uint8)


def predicted(cfg, layer, bias, scenes):
    """An image, and its prediction drawn and described, if the last layer is a bias."""
    model = load_model(cfg, device='cpu')
    last = model.get_submodule(layer)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, bias)
    original, batch = read_image(model, str(scenes / 'images/validation/0.jpg'))
    return original, *draw_prediction(model, model.test_step(batch)[0], original)


def test_written_or_refused(tmp_path):
    write_picture(tmp_path / 'new' / 'a.png', GREY)
    assert (cv2.imread(str(tmp_path / 'new' / 'a.png')) == GREY).all()
    (tmp_path / 'b.png').mkdir()
    with pytest.raises(OSError, match=r'b\.png'):
        write_picture(tmp_path / 'b.png', GREY)
    latin = os.fsdecode(b'lat\xfcn.png')  # not UTF-8, where OpenCV crashes
    write_picture(tmp_path / latin, GREY)
    assert latin in os.listdir(tmp_path)
    for name in ('c', 'c.pth'):
        with pytest.raises(ValueError, match=r'does not end like .* as .png'):
            check_picture_name(tmp_path / name)


@pytest.mark.parametrize(
    ('bias', 'said'), [(9.0, 'thing: 100.0%'), (-9.0, 'ground: 100.0%')]
)
def test_one_output_channel(scenes: Path, bias: float, said: str) -> None:
    cfg = segmentation_config(scenes)
    one_channel(cfg['model'])
    colours = [[0, 0, 0], [255, 0, 0]]
    meta = dict(classes=('ground', 'thing'), palette=colours)
    cfg['test_dataloader']['dataset']['metainfo'] = meta
    original, drawn, text = predicted(Config(cfg), 'decode_head.conv_seg', bias, scenes)
    assert text == said
    # Names are beside the image.
    height, width = original.shape[:2]
    colour = (0, 0, 255 * (bias > 0))
    expected = original / 2 + np.array(colour) / 2
    assert np.abs(drawn[:height, :width] - expected).max() <= 1
    assert drawn.shape[1] > width


@pytest.mark.parametrize(
    ('bias', 'said'), [(0.5, 'a: 62.2%, b: 62.2%'), (-9.0, 'no class')]
)
def test_several_labels(
    classification_config: Path,
    scenes: Path,
    bias: float,
    said: str,
) -> None:
    cfg = Config.fromfile(classification_config)
    head = dict(type='MultiLabelLinearClsHead', num_classes=2, in_channels=16)
    cfg.model.head = head
    cfg.test_dataloader.dataset.metainfo = dict(classes=['a', 'b'])
    original, drawn, text = predicted(cfg, 'head.fc', bias, scenes)
    assert text == said
    assert (drawn != original).any()
