"""Work of submodels, against what can be counted by hand."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config

from mmcosub.analysis.costs import count_flops, count_work
from mmcosub.analysis.network import Network
from mmcosub.analysis.steps import evaluation_shape

CHANNELS, TOKENS = 16, 17  # of the tiny ViT at 32 pixels: 4 x 4 patches and a class


@pytest.fixture(scope='module')
def network():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    return Network(MODELS.build(segmentor_config('mmpretrain ViT')), (32, 32))


def test_a_block_less_is_its_products_less(network):
    def flops(kept):
        with network.submodel(kept), torch.inference_mode():
            return count_flops(lambda: network.model(network.image, mode='tensor'))

    projections = 2 * TOKENS * CHANNELS * (3 * CHANNELS + CHANNELS)
    attention = 2 * 2 * TOKENS * TOKENS * CHANNELS
    ffn = 2 * 2 * TOKENS * CHANNELS * 32
    less = flops(network.full - {2})
    assert flops(network.full) - less == projections + attention + ffn


def test_a_network_of_timm():
    model = dict(type='TimmClassifier', model_name='vit_tiny_patch16_224')
    model |= dict(img_size=32, depth=1, num_classes=5)
    model['loss'] = dict(type='CrossEntropyLoss')
    work = count_work(Config(dict(default_scope='mmpretrain', model=model)), (32, 32))
    assert work.plain > 2 * work.prediction > 0


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


@pytest.mark.parametrize(
    ('steps', 'shape'),
    [
        ([dict(type='Resize', scale=32)], (32, 32)),
        ([dict(type='Resize', scale=(48, 32)), dict(type='PackInputs')], (32, 48)),
        (
            [dict(type='Resize', scale=48), dict(type='CenterCrop', crop_size=40)],
            (40,) * 2,
        ),
        ([dict(type='ResizeEdge', scale=48)], (96, 96)),
        ([dict(type='Resize', scale=(48, 32), keep_ratio=True)], (96, 96)),
    ],
)
def test_shape_by_the_pipeline_of_a_classifier(steps, shape):
    model = dict(backbone=dict(img_size=96))
    loader = dict(dataset=dict(pipeline=steps))
    assert evaluation_shape(Config(dict(model=model, test_dataloader=loader))) == shape
    del loader['dataset']['pipeline']
    assert evaluation_shape(Config(dict(model=model, test_dataloader=loader)))[0] == 96
    loader['dataset']['pipeline'] = steps
    model['decode_head'] = dict()
    assert evaluation_shape(Config(dict(model=model, test_dataloader=loader)))[0] == 96


def test_shape_that_is_none():
    with pytest.raises(ValueError, match=r'\(1, 2, 3\) is not valid: give height'):
        evaluation_shape(Config(dict(model={})), [1, 2, 3])
