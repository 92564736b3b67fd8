"""The demo's configs fit one another."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmpretrain.structures import DataSample
from torch import nn

from mmcosub.checkpoints import load_backbone
from mmcosub.config.co_train import RUNNER, co_trained_model

ROOT = Path(__file__).parents[2] / 'configs'
PRETRAIN = 'digits/{}-mini_cosub_1xb32-10e_digits-32x32.py'
SEGMENT = 'digit_scenes/{}-mini_upernet-cosub_1xb32-2k_digit-scenes-32x32.py'


def build(name):
    cfg = Config.fromfile(ROOT / name)
    assert cfg.runner_type == RUNNER
    init_default_scope(cfg.default_scope)
    return MODELS.build(co_trained_model(cfg.model, cfg.scheme))


@pytest.mark.parametrize('network', ['swin', 'vit'])
def test_pretraining_step(network):
    model = build(PRETRAIN.format(network))
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    losses = model.loss(torch.randn(2, 3, 32, 32), samples)
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize('network', ['swin', 'vit'])
def test_carry_over(network, tmp_path):
    source, target = (build(name.format(network)) for name in (PRETRAIN, SEGMENT))
    file = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=source.state_dict()), file)
    report = load_backbone(target.backbone, file)
    assert report.match == 1
    assert not report.unused
    assert report.done == []


@pytest.mark.parametrize('network', ['swin', 'vit'])
def test_rate_and_decay_of_every_parameter(network):
    cfg = Config.fromfile(ROOT / SEGMENT.format(network))
    model = build(SEGMENT.format(network))
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {id(p): name for name, p in model.named_parameters()}
    norms = {
        f'{name}.{key}'
        for name, module in model.named_modules()
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)
        for key, _ in module.named_parameters(recurse=False)
    }
    assert len(norms) > 20
    for group in wrapper.optimizer.param_groups:
        (parameter,) = group['params']
        name = names[id(parameter)]
        free = name in norms or name.endswith(
            ('pos_embed', 'cls_token', 'relative_position_bias_table')
        )
        assert group['lr'] == 2e-3, name
        assert group['weight_decay'] == (0 if free else 0.01), name
