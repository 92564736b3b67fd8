"""Classification configs of cosub's relatives train and predict, at reduced size."""

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample

from mmcosub.engine.co_train import RUNNER, co_trained_model

ROOT = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob('*_in1k-224.py')
    if path.parent.name != 'cosub_pretrain'
)


def shrink(model):
    """The same model with few channels, blocks and classes."""
    backbone = model.backbone
    kind = backbone.type.rpartition('.')[2]
    if kind == 'VisionTransformer':
        backbone.arch = dict(
            embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32
        )
        channels = 16
    elif kind == 'SwinTransformer':
        backbone.arch = dict(embed_dims=8, depths=[1, 1, 3, 1], num_heads=[1, 2, 4, 8])
        backbone.pad_small_map = True
        channels = 64
    else:
        assert kind == 'ResNet'
        backbone.update(stem_channels=8, base_channels=8, norm_cfg=dict(type='BN'))
        channels = 256
    if kind != 'ResNet':
        backbone.img_size = 64
    model.head.update(in_channels=channels, num_classes=10)
    if 'num_classes' in model.head.loss:
        model.head.loss.num_classes = 10


@pytest.mark.parametrize('name', CONFIGS)
def test_one_step_of_each(name):
    cfg = Config.fromfile(ROOT / name)
    assert cfg.runner_type == RUNNER
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    cfg.model.data_preprocessor = dict(num_classes=10)
    torch.manual_seed(0)
    model = MODELS.build(co_trained_model(copy.deepcopy(cfg.model), cfg.scheme))
    model.train()
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(4)]
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    total, _ = model.parse_losses(model(**data, mode='loss'))
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    data = model.data_preprocessor(dict(inputs=images), False)
    assert model(**data).shape == (4, 10)


def test_all_methods_and_networks_are_there():
    assert len(CONFIGS) == 7 * 3 - 1  # a ResNet has no dropout for AugDrop
