"""Settings of whole runs, by config: EMA, parameter groups, SyncBN."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from stock_settings import SCHEMES, build, classifier, segmentor
from tiny import segmentor_config

from mmcosub.engine import CoTrainingRunner, apply_scheme

LARGER = {
    'model.data_preprocessor.size': (64, 64),
    'train_dataloader.dataset.pipeline.2.crop_size': (40, 40),
}


def run(
    path: Path, scheme: str, name: str = 'w', **options: object
) -> CoTrainingRunner:
    """Train a tiny segmentor by a config."""
    cfg = Config.fromfile(path)
    apply_scheme(cfg, scheme)
    cfg.work_dir = str(Path(cfg.work_dir).parent / name)
    cfg.merge_from_dict({**LARGER, **options})
    cfg.experiment_name = name
    runner = CoTrainingRunner.from_cfg(cfg)
    runner.train()
    return runner


@pytest.mark.parametrize('scheme', ['cosub', 'augmask', 'gkt'])
@pytest.mark.sweep(every=3)
def test_ema(scheme: str, config: Path) -> None:
    hook = dict(type='EMAHook', momentum=0.5)
    plain = run(config, scheme, 'plain')
    averaged = run(config, scheme, 'ema', custom_hooks=[hook])
    weights = [dict(r.model.named_parameters()) for r in (plain, averaged)]
    for name, value in weights[0].items():  # the model itself trains as without
        torch.testing.assert_close(value, weights[1][name], msg=name)
    saved = torch.load(Path(averaged.work_dir) / 'iter_4.pth', weights_only=False)
    # What is to be used is the average, and of the stock model's weights alone.
    names = set(segmentor_state())
    assert set(saved['state_dict']) == names
    key = 'decode_head.conv_seg.weight'
    assert not torch.equal(saved['state_dict'][key], weights[1][key])
    torch.testing.assert_close(
        saved['ema_state_dict'][f'module.{key}'], weights[1][key].detach()
    )


def segmentor_state() -> dict:
    """State of the stock model."""
    from mmseg.registry import MODELS

    init_default_scope('mmseg')
    return MODELS.build(segmentor_config()).state_dict()


LAYER_DECAY = {
    'mmseg': dict(
        constructor='LayerDecayOptimizerConstructor',
        paramwise_cfg=dict(num_layers=4, decay_rate=0.9),
    ),
    'mmpretrain': dict(
        constructor='mmpretrain.LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(layer_decay_rate=0.7),
    ),
}


def rates(model: torch.nn.Module, settings: dict) -> dict[str, tuple]:
    """Learning rate and weight decay of every parameter, by name."""
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1), **settings)
    wrapper = build_optim_wrapper(model, cfg)
    of = {
        id(p): (group['lr'], group['weight_decay'])
        for group in wrapper.param_groups
        for p in group['params']
    }
    return {name: of[id(p)] for name, p in model.named_parameters()}


@pytest.mark.parametrize('scheme', ['cosub', 'augmask', 'gkt'])
def test_layer_decay_of_mmpretrain(scheme: str) -> None:
    settings = LAYER_DECAY['mmpretrain']
    ours = rates(build(classifier(), SCHEMES[scheme]), settings)
    stock = rates(build(classifier(), None), settings)
    assert {k: v for k, v in ours.items() if 'extras' not in k} == stock
    assert len(set(stock.values())) > 4


@pytest.mark.parametrize('scheme', ['cosub', 'augmask', 'gkt'])
def test_parameter_wise_settings(scheme: str) -> None:
    keys = {'relative_position_bias_table': dict(decay_mult=0.0)}
    keys |= {'head': dict(lr_mult=10.0), 'norm': dict(decay_mult=0.0)}
    settings = dict(paramwise_cfg=dict(custom_keys=keys))
    ours = rates(build(segmentor(), SCHEMES[scheme]), settings)
    stock = rates(build(segmentor(), None), settings)
    assert {k: v for k, v in ours.items() if 'extras' not in k} == stock


def test_sync_bn_is_reverted_without_a_gpu(config: Path) -> None:
    options = {
        'model.decode_head.norm_cfg': dict(type='SyncBN', requires_grad=True),
        'model.auxiliary_head.norm_cfg': dict(type='SyncBN', requires_grad=True),
    }
    plain = run(config, 'cosub', 'plain')
    synced = run(config, 'cosub', 'synced', **options)
    for a, b in zip(plain.model.parameters(), synced.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
