"""Every shipped config builds and trains and predicts, at reduced size."""

import copy
import functools
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import labelled_images
from torch.nn.modules.batchnorm import _BatchNorm

from mmcosub.config.co_train import RUNNER, co_trained_model, list_schemes

ROOT = Path(__file__).parents[2] / 'configs'
ALL = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob('*.py')
    if '_base_' not in path.parts
)
# Of segmentation; the others have test files of their own.
CONFIGS = [name for name in ALL if not name.startswith('digits/') and '_in' not in name]


PYRAMID = dict(
    SwinTransformer=dict(
        arch=dict(embed_dims=8, depths=[1, 1, 3, 1], num_heads=[1, 2, 4, 8]),
        img_size=64,
    ),
    ConvNeXt=dict(arch=dict(depths=[1, 1, 1, 1], channels=[8, 16, 32, 64])),
    ResNet=dict(depth=50, base_channels=2, norm_cfg=dict(type='BN')),
)
COLUMN = dict(
    VisionTransformer=dict(
        arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
    ),
    TIMMBackbone=dict(embed_dim=16, depth=4, num_heads=2),
    MAE=dict(embed_dims=16, num_layers=4, num_heads=2, mlp_ratio=2),
)


def shrink(model):
    """The same model, narrow and shallow."""
    backbone = model.backbone
    kind = backbone.type.rpartition('.')[2]
    if kind in COLUMN:
        backbone.update(COLUMN[kind], img_size=64, out_indices=[0, 1, 2, 3])
        model.neck.update(embed_dim=16, norm_cfg=dict(type='BN'))
        channels = [16] * 4
    else:
        backbone.update(PYRAMID[kind])
        channels = [8, 16, 32, 64]
    model.data_preprocessor.size = (64, 64)
    for head in (model.decode_head, model.auxiliary_head):
        head.update(channels=8, norm_cfg=dict(type='BN'))
    model.decode_head.in_channels = channels
    model.auxiliary_head.in_channels = channels[2]


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.sweep(every=4)
def test_full_size_builds(name, monkeypatch):
    # The backbones read their rates off a tensor, which has to be a real one.
    linspace = functools.partial(torch.linspace, device='cpu')
    monkeypatch.setattr(torch, 'linspace', linspace)
    cfg = Config.fromfile(ROOT / name)
    heads = (cfg.model.decode_head, cfg.model.auxiliary_head)
    assert {head.num_classes for head in heads} <= {11, 150}
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):  # full size, no memory
        model = MODELS.build(copy.deepcopy(cfg.model))
    level = cfg.model.auxiliary_head.in_index
    assert cfg.model.decode_head.in_channels[level] == heads[1].in_channels
    assert sum(p.numel() for p in model.parameters()) > 1e6


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.sweep(every=4)
def test_one_step_of_each(name):
    cfg = Config.fromfile(ROOT / name)
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    model = copy.deepcopy(cfg.model)
    trained = not name.startswith('upernet/') and 'upernet_' not in name
    assert trained == ('scheme' in cfg)
    if trained:
        assert cfg.runner_type == RUNNER
        model = co_trained_model(model, cfg.scheme)
    model = MODELS.build(model)
    model.train()
    images, samples = labelled_images(2, 11, (64, 64))
    losses = model.loss(images, samples)
    assert ('decode.loss_co_training' in losses) == trained
    model.parse_losses(losses)[0].backward()
    assert all(p.grad is not None for p in model.parameters())
    model.eval()
    with torch.no_grad():
        (first, _) = model.predict(images, samples)
    assert first.pred_sem_seg.data.shape == (1, 64, 64)


@pytest.mark.parametrize('name', CONFIGS)
def test_rates_above_zero_wherever_cosub_is_on(name):
    cfg = Config.fromfile(ROOT / name)
    backbone = cfg.model.backbone
    rate = backbone.get('drop_path_rate', 0) or backbone.layer_cfgs.drop_path_rate
    assert 0 < rate < 1


@pytest.mark.parametrize(
    ('network', 'rates'),
    [
        ('mae-base-p16', {0.65**k for k in range(6)}),
        ('convnext-tiny', {1.0} | {0.9**k for k in range(3, 8)}),
    ],
)
def test_learning_rates_of_layers(network, rates):
    name = f'starting_points/{network}_upernet-cosub_8xb2-160k_ade20k-512x512.py'
    cfg = Config.fromfile(ROOT / name)
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    if network.startswith('mae'):
        cfg.optim_wrapper.paramwise_cfg.num_layers = 4
    model = MODELS.build(co_trained_model(copy.deepcopy(cfg.model), cfg.scheme))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    found = {group['lr'] / 1e-4 for group in optimizer.param_groups}
    assert sorted(found) == pytest.approx(sorted(rates))


@pytest.mark.parametrize('network', ['swin-tiny-patch4-window7', 'vit-small-p16'])
def test_what_is_decayed_on_ade20k(network):
    name = f'upernet/{network}_upernet_8xb2-160k_ade20k-512x512.py'
    cfg = Config.fromfile(ROOT / name)
    init_default_scope(cfg.default_scope)
    shrink(cfg.model)
    model = MODELS.build(copy.deepcopy(cfg.model))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    norms = {
        id(p)
        for module in model.modules()
        if isinstance(module, (_BatchNorm, torch.nn.LayerNorm))
        for p in module.parameters(recurse=False)
    }
    names = {id(p): n for n, p in model.named_parameters()}
    position = re.compile(r'cls_token|pos_embed|relative_position_bias_table')
    kinds = set()
    for group in optimizer.param_groups:
        assert group['lr'] == 6e-5
        for p in group['params']:
            free = id(p) in norms or bool(position.search(names[id(p)]))
            kinds.add((id(p) in norms, free))
            assert group['weight_decay'] == (0 if free else 0.01), names[id(p)]
    assert kinds == {(True, True), (False, True), (False, False)}


def test_the_rate_decays_until_the_end_of_a_shorter_run():
    cfg = Config.fromfile(ROOT / '_base_' / 'schedules' / 'adamw_160k.py')
    assert [s.get('end') for s in cfg.param_scheduler] == [1500, None]


def test_schemes():
    assert set(list_schemes()) == {
        'augdrop',
        'augmask',
        'augpath',
        'collaboration',
        'cosub',
        'gkt',
        'stimulative',
        'stochastic_depth',
    }


def test_base_of_a_config_elsewhere(tmp_path):
    config = tmp_path / 'mine.py'
    base = 'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'
    config.write_text(
        f"_base_ = ['mmseg::{base}', 'mmcosub::_base_/schemes/cosub.py']\n"
    )
    cfg = Config.fromfile(config)
    assert cfg.model.type == 'EncoderDecoder'
    assert cfg.scheme.type == 'mmcosub.Cosub'
