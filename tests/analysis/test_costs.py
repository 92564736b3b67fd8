"""Work of submodels, against what can be counted by hand."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny import segmentor_config

from mmcosub.analysis.costs import count_flops
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


@pytest.mark.parametrize(
    ('cfg', 'shape'),
    [
        (dict(test_cfg=dict(mode='slide', crop_size=(40, 48))), (40, 48)),
        (dict(data_preprocessor=dict(size=(64, 32))), (64, 32)),
        (dict(backbone=dict(img_size=96)), (96, 96)),
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
