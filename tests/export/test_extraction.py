"""Submodels as stock models: the same outputs, by settings that one can check."""

import copy
import re
import subprocess
import sys
import warnings

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from networks import TINY
from stock import segmentation_config
from tiny import BACKBONES, segmentor_config
from torch import nn

from mmcosub.analysis.network import Network
from mmcosub.export.extraction import extract, extractable

NETWORKS = {**BACKBONES, **TINY}

# What to keep, one submodel a network: a block of the middle is gone where one can be.
KEPT = {
    'mmpretrain ViT': {0, 1, 3},
    'mmpretrain DeiT3': {0, 2},
    'mmpretrain BEiT': {0, 1},
    'mmpretrain EVA-02': {0, 2},
    'mmpretrain MLP-Mixer': {1},
    'mmpretrain XCiT': {0},
    'mmpretrain Swin': {1, 2},
    'mmpretrain SwinV2': {1, 3},
    'mmpretrain ConvNeXt': {1},
    'mmpretrain PoolFormer': {0, 2},
    'mmpretrain HorNet': {0, 2, 3},
    'mmpretrain VAN': {0, 2},
    'mmseg ViT': {0, 1, 3},
    'mmseg BEiT': {0, 2},
    'mmseg MAE': {0, 2},
    'mmseg Swin': {0, 2, 3},
    'mmseg MiT': {1, 2},
    'mmseg MSCAN': {0, 2},
}


class Bare(nn.Module):
    """A backbone as a whole model."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)

    def forward(self, inputs, mode):
        return self.backbone(inputs)


@pytest.fixture(autouse=True)
def bare():
    MODELS.register_module('Bare', module=Bare, force=True)
    yield
    MODELS.module_dict.pop('Bare')


def built(model, scope='mmseg'):
    """A config and a network of it whose every parameter matters."""
    init_default_scope(scope)
    torch.manual_seed(0)
    cfg = Config(dict(default_scope=scope, model=copy.deepcopy(model)))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of old arguments, by mmcv and torch
        network = MODELS.build(copy.deepcopy(cfg.model))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return cfg, Network(network, (32, 32))


def bare_network(name, **changes):
    config = {**NETWORKS[name], **changes}
    return built(dict(type='Bare', backbone=config))


def backbone_settings(cfg, network, kept):
    return extract(cfg, network, frozenset(kept)).cfg.model.backbone


def refused(cfg, network, kept):
    """What is said of a submodel; the same without building anything."""
    why_not = extractable(cfg.model, network)(frozenset(kept))
    assert why_not
    with pytest.raises(ValueError, match=re.escape(why_not)):
        extract(cfg, network, frozenset(kept))
    return why_not


@pytest.mark.filterwarnings('ignore:The `use_layer_scale` in')
@pytest.mark.parametrize('name', KEPT)
def test_computes_the_same(name):
    cfg, network = bare_network(name)
    kept = frozenset(KEPT[name])
    assert extractable(cfg.model, network)(kept) is None
    extracted = extract(cfg, network, kept)
    assert extracted.difference <= 1e-6
    blocks = {site.name for site in Network(_fresh(extracted), (32, 32)).sites}
    assert len(blocks) == len(kept)


def _fresh(extracted):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return MODELS.build(copy.deepcopy(extracted.cfg.model))


def test_a_difference_would_be_seen(monkeypatch):
    # Weights of the wrong block: what the comparison is there for.
    cfg, network = bare_network('mmpretrain Swin')
    real = extract.__globals__['shallower_weights']

    def other(weights, network, kept):
        return real(weights, network, frozenset({0, 2}))

    monkeypatch.setitem(extract.__globals__, 'shallower_weights', other)
    with pytest.raises(ValueError, match='computes something else'):
        extract(cfg, network, frozenset({0, 3}))


def test_outputs_are_counted_anew():
    cfg, network = bare_network('mmpretrain ViT', out_indices=(1, 3))
    settings = backbone_settings(cfg, network, {1, 2})
    assert settings.arch.num_layers == 2
    assert list(settings.out_indices) == [0, 1]
    last = bare_network('mmpretrain ViT', out_indices=-1)
    assert backbone_settings(*last, {2}).out_indices == -1
    said = refused(*bare_network('mmpretrain ViT'), {0, 2, 3})
    assert said.endswith('feature map behind block 1. Keep one of the blocks 1 to 1.')
    assert refused(cfg, network, {2, 3}).endswith('Keep one of the blocks 0 to 1.')
    middle = bare_network('mmseg ViT', out_indices=(1,), final_norm=True)
    assert backbone_settings(*middle, {1, 3}).out_indices == [0]
    # Here the last norm is behind a block that gives no feature map.
    with pytest.raises(ValueError, match='computes something else'):
        extract(*middle, frozenset({0, 1}))


def test_frozen_blocks_are_counted_anew():
    network = bare_network('mmpretrain ViT', out_indices=(3,), frozen_stages=3)
    assert backbone_settings(*network, {0, 3}).frozen_stages == 1


def test_named_architectures():
    # By MMPretrain's name, in the case that it takes.
    cfg, network = bare_network('mmpretrain ViT', arch='Deit-Tiny', out_indices=-1)
    settings = backbone_settings(cfg, network, set(range(12)) - {4, 7})
    assert settings.arch.num_layers == 10
    assert settings.arch.embed_dims == 192


def test_windows_stay_shifted():
    cfg, network = bare_network('mmpretrain Swin')
    settings = backbone_settings(cfg, network, {1, 2, 3})
    assert settings.arch.depths == [1, 2]
    first, second = settings.stage_cfgs
    assert first.block_cfgs == [dict(shift=True)]
    assert second.block_cfgs == [dict(shift=False), dict(shift=True)]
    # As it is by its place already, the config stays short.
    assert 'stage_cfgs' not in backbone_settings(cfg, network, {0, 2})
    said = refused(*bare_network('mmseg Swin'), {1, 2})
    assert said.startswith('Blocks would come where')


def test_what_no_stock_config_builds():
    cfg, network = built(
        dict(type='Bare', backbone=dict(type='mmpretrain.ResNet', depth=18))
    )
    kept = network.full - {1}
    assert 'none of its settings num_layers, ' in refused(cfg, network, kept)
    assert 'layer2.0) changes the resolution' in refused(
        cfg, network, network.full - {2}
    )
    # It reads a stage's channels from its last block.
    cfg, network = bare_network('mmpretrain VAN')
    with pytest.raises(ValueError, match=r'cannot be built and run .* Keep other'):
        extract(cfg, network, frozenset({1}))
    assert 'would be empty' in refused(cfg, network, set())
    assert 'there is no block 7' in refused(cfg, network, {0, 7})


@pytest.fixture
def of_ours(scenes):
    """Config of a segmentor with a scheme and data of ours."""
    cfg = segmentation_config(scenes)
    cfg['model'] = segmentor_config()
    cfg['scheme'] = dict(type='mmcosub.Cosub')
    cfg['custom_hooks'] = [dict(type='mmcosub.CoTrainingLossHook', ramp=3)]
    cfg['val_dataloader'] = copy.deepcopy(cfg['test_dataloader'])
    cfg['val_dataloader']['dataset'] = dict(
        type='mmcosub.DigitScenesDataset', data_root='d', pipeline=[]
    )
    cfg['val_evaluator'] = dict(type='mmcosub.Nothing')
    probabilities = dict(type='mmcosub.ProbabilityMetric')
    cfg['test_evaluator'] = [dict(type='IoUMetric'), probabilities]
    return Config(cfg)


OF_OURS = frozenset({1, 2})


def test_nothing_of_ours(tmp_path, of_ours):
    _, network = built(of_ours.model)
    extracted = extract(of_ours, network, OF_OURS)
    assert sorted(extracted.left_out) == ['val_dataloader', 'val_evaluator']
    assert 'val_cfg' not in extracted.cfg
    assert [m.type for m in extracted.cfg.test_evaluator] == ['IoUMetric']
    extracted.write(tmp_path / 'a.pth', dict(classes=('a',)), ['b'])
    assert 'mmcosub' not in (tmp_path / 'a.py').read_text()


@pytest.mark.slow
def test_no_need_of_us(tmp_path, of_ours):
    """In a process that has no mmcosub."""
    _, network = built(of_ours.model)
    extracted = extract(of_ours, network, OF_OURS)
    extracted.write(tmp_path / 'a.pth', dict(classes=('a',)), ['b'])
    torch.save(network.image, tmp_path / 'image.pt')
    code = (
        'import sys; sys.modules["mmcosub"] = None\n'
        'import torch\n'
        'from mmseg.apis import init_model\n'
        f'model = init_model({str(tmp_path / "a.py")!r}, '
        f'{str(tmp_path / "a.pth")!r}, device="cpu")\n'
        f'image = torch.load({str(tmp_path / "image.pt")!r})\n'
        'with torch.no_grad(): logits = model(image, mode="tensor")\n'
        f'torch.save(logits, {str(tmp_path / "logits.pt")!r})\n'
        'assert model.dataset_meta == dict(classes=("a",))\n'
    )
    run = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    with torch.no_grad(), network.submodel(OF_OURS):
        wanted = network.model(network.image, mode='tensor')
    found = torch.load(tmp_path / 'logits.pt')
    assert float((found - wanted).abs().max() / wanted.abs().max()) <= 1e-6


def test_classifier_with_a_loss_of_ours():
    model = dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(
            BACKBONES['mmpretrain ViT'], out_type='cls_token', out_indices=-1
        ),
        head=dict(
            type='mmpretrain.LinearClsHead',
            num_classes=3,
            in_channels=16,
            loss=dict(type='mmcosub.BinaryCrossEntropyLoss'),
        ),
    )
    cfg, network = built(model, 'mmpretrain')
    extracted = extract(cfg, network, frozenset({0, 2}))
    assert extracted.left_out == ['model.head.loss']
    assert extracted.difference <= 1e-6


def test_a_head_of_ours_is_named():
    model = segmentor_config()
    model['decode_head']['type'] = 'mmcosub.FastUPerHead'
    cfg, network = built(model)
    with pytest.raises(ValueError, match=r'decode_head.type=.*upstream class'):
        extract(cfg, network, frozenset({0, 2}))


def test_a_classifier_of_timm_has_no_backbone_to_set():
    model = dict(type='mmpretrain.TimmClassifier', model_name='vit_tiny_patch16_224')
    size = dict(img_size=32, depth=2, num_classes=2)
    cfg, network = built(
        dict(**model, **size, loss=dict(type='CrossEntropyLoss')), 'mmpretrain'
    )
    assert network.blocks == ['blocks.0', 'blocks.1']
    assert 'has no settings of a backbone' in refused(cfg, network, {0})
