"""Predicting single images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from stock import segmentation_config
from tiny import one_channel

from mmcosub.engine.prediction import draw_prediction, load_model


@pytest.mark.parametrize(
    ('bias', 'said'), [(9.0, 'thing: 100.0%'), (-9.0, 'ground: 100.0%')]
)
def test_one_output_channel(
    scenes: Path, tmp_path: Path, bias: float, said: str
) -> None:
    cfg = segmentation_config(scenes)
    one_channel(cfg['model'])
    colours = [[0, 0, 0], [255, 0, 0]]
    meta = dict(classes=('ground', 'thing'), palette=colours)
    cfg['test_dataloader']['dataset']['metainfo'] = meta
    model = load_model(Config(cfg), device='cpu')
    torch.nn.init.zeros_(model.decode_head.conv_seg.weight)
    torch.nn.init.constant_(model.decode_head.conv_seg.bias, bias)
    image = np.zeros((40, 48, 3), np.uint8)
    assert draw_prediction(model, image, tmp_path / 'picture.png') == said
    assert (tmp_path / 'picture.png').is_file()


@pytest.mark.parametrize(
    ('bias', 'said'), [(0.5, 'a: 62.2%, b: 62.2%'), (-9.0, 'no class')]
)
def test_several_labels(
    classification_config: Path, tmp_path: Path, bias: float, said: str
) -> None:
    cfg = Config.fromfile(classification_config)
    head = dict(type='MultiLabelLinearClsHead', num_classes=2, in_channels=16)
    cfg.model.head = head
    cfg.test_dataloader.dataset.metainfo = dict(classes=['a', 'b'])
    model = load_model(cfg, device='cpu')
    torch.nn.init.zeros_(model.head.fc.weight)
    torch.nn.init.constant_(model.head.fc.bias, bias)
    image = np.zeros((40, 48, 3), np.uint8)
    assert draw_prediction(model, image, tmp_path / 'picture.png') == said
    assert (tmp_path / 'picture.png').is_file()
