"""Networks of other than three channels, and pure-Python configs, in every tool."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import load_tool
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from stock import segmentation_config, write_config

from mmcosub.engine.prediction import load_model

CHANNELS = (1, 2, 4)
FEW = ['--search-images', '2', '--images', '2']
TOOLS = {
    'get_flops': ['{config}', '--shape', '32', '--co-train', 'cosub', '--draws', '1'],
    'benchmark': ['{config}', '--shape', '32', '--repeat-times', '1'],
    'browse_dataset': ['{config}', '--number', '1', '--out', '{out}'],
    'image_demo': ['{image}', '{config}', '{weights}', '--out-file', '{out}.png'],
    'submodel_sweep': ['{config}', '{weights}', *FEW],
}


@TRANSFORMS.register_module()
class LoadSome:
    """Loads an image and keeps or adds channels."""

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def __call__(self, results: dict) -> dict:
        image = cv2.imread(results['img_path'])
        image = np.concatenate([image, image], axis=-1)[..., : self.channels]
        shape = image.shape[:2]
        return {**results, 'img': image, 'img_shape': shape, 'ori_shape': shape}


def written(root: Path, scenes: Path, channels: int) -> tuple[Path, Path]:
    """A config file of a network of so many channels, and its weights."""
    cfg = segmentation_config(scenes)
    cfg['model']['backbone']['in_channels'] = channels
    cfg['model']['data_preprocessor'] = dict(type='SegDataPreProcessor', size=(40, 48))
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        load = dict(type='LoadSome', channels=channels)
        cfg[loader]['dataset']['pipeline'][0] = load
    weights = root / 'weights.pth'
    torch.save(load_model(Config(cfg), device='cpu').state_dict(), weights)
    return write_config(root / 'tiny.py', cfg), weights


def run(tool: str, root: Path, scenes: Path, config: Path, weights: Path) -> None:
    image = scenes / 'images/validation/0.jpg'
    values = dict(config=config, weights=weights, image=image, out=root / 'out')
    argv = [each.format(**values) for each in TOOLS[tool]]
    name = tool if tool == 'image_demo' else f'analysis_tools/{tool}'
    load_tool(name).main([*argv, '--work-dir', str(root / 'w')])


@pytest.mark.parametrize('channels', CHANNELS)
@pytest.mark.parametrize('tool', list(TOOLS))
@pytest.mark.sweep(every=5)
def test_channels(tool: str, channels: int, tmp_path: Path, scenes: Path) -> None:
    config, weights = written(tmp_path, scenes, channels)
    run(tool, tmp_path, scenes, config, weights)


@pytest.mark.parametrize('tool', ['image_demo', 'browse_dataset'])
def test_pure_python_configs(tool: str, tmp_path: Path, scenes: Path) -> None:
    config, weights = written(tmp_path, scenes, 3)
    text, imports = config.read_text(), ''
    for module, name in (
        ('mmseg.datasets', 'BaseSegDataset'),
        ('mmseg.datasets.transforms', 'LoadAnnotations'),
        ('mmseg.datasets.transforms', 'PackSegInputs'),
        ('mmseg.models', 'EncoderDecoder'),
    ):
        text = text.replace(f"'type': '{name}'", f"'type': {name}")
        imports += f'from {module} import {name}\n'
    config.write_text(imports + text)
    run(tool, tmp_path, scenes, config, weights)
