"""Predicting single images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, TRANSFORMS
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.models import EncoderDecoder
from stock import segmentation_config

from mmcosub.engine.prediction import load_model, read_image


def deep(path: Path, channels: int) -> None:
    """An image of 16 bits."""
    values = np.random.default_rng(0).integers(0, 2**12, (40, 48, channels))
    assert cv2.imwrite(str(path), values.astype(np.uint16).squeeze())


def array(path: Path, channels: int) -> None:
    """An array of numbers of any sign."""
    np.save(path, np.random.default_rng(0).normal(size=(40, 48, channels)))


@TRANSFORMS.register_module()
class LoadArray:
    """A user's loader."""

    def __call__(self, results: dict) -> dict:
        image = np.load(results['img_path']).astype(np.float32)
        shape = image.shape[:2]
        return {**results, 'img': image, 'img_shape': shape, 'ori_shape': shape}


@pytest.mark.parametrize('lazy', [False, True])
@pytest.mark.parametrize(
    ('suffix', 'write', 'loader', 'channels'),
    [
        ('.png', deep, dict(type=LoadImageFromFile, color_type='unchanged'), 3),
        ('.png', deep, dict(type=LoadImageFromFile, color_type='unchanged'), 1),
        ('.png', deep, dict(type=LoadImageFromFile, color_type='unchanged'), 4),
        ('.npy', array, dict(type=LoadArray), 2),
        ('.npy', array, dict(type=LoadArray), 3),
    ],
)
def test_images_are_read_as_test_dataloader_does(
    scenes: Path,
    tmp_path: Path,
    suffix: str,
    write: Callable,
    loader: dict,
    channels: int,
    lazy: bool,
) -> None:
    """The loader's own pipeline counts, whatever ``test_pipeline`` says."""
    cfg = segmentation_config(scenes)
    cfg['model']['backbone']['in_channels'] = channels
    cfg['model']['data_preprocessor'] = dict(type='SegDataPreProcessor')
    cfg['test_pipeline'] = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    if not lazy:
        loader = {**loader, 'type': loader['type'].__name__}
    kinds = (LoadAnnotations, PackSegInputs)
    labels, pack = (kind if lazy else kind.__name__ for kind in kinds)
    dataset = cfg['test_dataloader']['dataset']
    dataset |= dict(data_root=str(tmp_path), img_suffix=suffix, reduce_zero_label=False)
    dataset['pipeline'] = [loader, dict(type=labels), dict(type=pack)]
    if lazy:
        dataset['type'] = BaseSegDataset
        cfg['model']['type'] = EncoderDecoder
    for kind in ('images', 'annotations'):
        (tmp_path / kind / 'validation').mkdir(parents=True)
    image = tmp_path / 'images/validation' / f'0{suffix}'
    write(image, channels)
    zeros = np.zeros((40, 48), np.uint8)
    cv2.imwrite(str(tmp_path / 'annotations/validation/0.png'), zeros)
    model: Any = load_model(Config(cfg), device='cpu')
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    picture, batch = read_image(model, str(image))
    assert (picture.shape, picture.dtype) == ((40, 48, 3), np.uint8)
    with torch.no_grad():
        (expected,) = model.test_step(pseudo_collate([DATASETS.build(dataset)[0]]))
        (found,) = model.test_step(batch)
    assert torch.equal(found.seg_logits.data, expected.seg_logits.data)
    assert expected.seg_logits.data.std() > 0


def test_what_cannot_be_read(scenes: Path, tmp_path: Path) -> None:
    model = load_model(Config(segmentation_config(scenes)), device='cpu')
    with pytest.raises(ValueError, match=r'There is no image .*none\.png'):
        read_image(model, str(tmp_path / 'none.png'))
    (tmp_path / 'text.png').write_text('no picture')
    with pytest.raises(ValueError, match=r'text.png cannot be read and transformed'):
        read_image(model, str(tmp_path / 'text.png'))
