"""Work of submodels, against what can be counted by hand."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config

from mmcosub.analysis.costs import WARMUP, count_work, submodel_work, time_submodels
from mmcosub.analysis.network import Network
from mmcosub.analysis.steps import evaluation_shape

CHANNELS, TOKENS = 16, 17  # of the tiny ViT at 32 pixels: 4 x 4 patches and a class


@pytest.fixture(scope='module')
def network():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return Network(MODELS.build(segmentor_config('mmpretrain ViT')), (32, 32))


def test_a_block_less_is_its_products_less(network):
    whole = submodel_work(network, network.full)
    less = submodel_work(network, network.full - {2})
    projections = 2 * TOKENS * CHANNELS * (3 * CHANNELS + CHANNELS)
    attention = 2 * 2 * TOKENS * TOKENS * CHANNELS
    ffn = 2 * 2 * TOKENS * CHANNELS * 32
    block = projections + attention + ffn
    assert whole['flops'] - less['flops'] == block
    assert whole['backbone_flops'] - less['backbone_flops'] == block
    norms, scales = 4 * CHANNELS, 2 * CHANNELS
    weights = 4 * CHANNELS**2 + 2 * 32 * CHANNELS
    biases = 3 * CHANNELS + CHANNELS + 32 + CHANNELS
    parameters = whole['backbone_parameters'] - less['backbone_parameters']
    assert parameters == weights + biases + norms + scales
    assert whole['backbone_flops'] < whole['flops']


def test_a_network_of_timm():
    model = dict(type='TimmClassifier', model_name='vit_tiny_patch16_224')
    model.update(
        img_size=32, depth=1, num_classes=5, loss=dict(type='CrossEntropyLoss')
    )
    work = count_work(Config(dict(default_scope='mmpretrain', model=model)), (32, 32))
    assert work.plain > 2 * work.prediction > 0


def test_times_are_ratios_to_the_first(network):
    ticks = []
    submodels = [network.full, frozenset({0})]
    times = time_submodels(network, submodels, 3, lambda: ticks.append(1))
    assert len(ticks) == 2 * (3 + WARMUP)
    first, second = times
    assert first['time_ratio'] == first['time_low'] == first['time_high'] == 1
    assert second['time_low'] <= second['time_ratio'] <= second['time_high']
    assert second['seconds'] > 0


@pytest.mark.parametrize(
    ('cfg', 'shape'),
    [
        (dict(test_cfg=dict(mode='slide', crop_size=(40, 48))), (40, 48)),
        (dict(data_preprocessor=dict(size=(64, 32))), (64, 32)),
        (dict(backbone=dict(img_size=96)), (96, 96)),
        (dict(type='TimmClassifier', img_size=32), (32, 32)),
        (dict(), (224, 224)),
    ],
)
def test_shape_by_the_config(cfg, shape):
    cfg = Config(dict(default_scope='mmpretrain', model=cfg))
    assert evaluation_shape(cfg) == shape
    assert evaluation_shape(cfg, [20]) == (20, 20)


def test_shape_that_is_none():
    with pytest.raises(ValueError, match=r'\(1, 2, 3\) is not valid: give height'):
        evaluation_shape(Config(dict(model={})), [1, 2, 3])
