"""Which networks get a drop-path rate that they have not."""

import pytest
from mmengine.config import Config

from mmcosub.engine import apply_scheme, set_default_rate
from mmcosub.schemes import Cosub

RESNET = dict(type='ResNet', depth=18, base_channels=4, stem_channels=4)
VIT = dict(type='VisionTransformer', img_size=32, embed_dims=16, num_layers=2)
SWIN = dict(type='SwinTransformer', embed_dims=8, depths=(1, 1), num_heads=(1, 2))


def with_rate(backbone, scheme='cosub', **options):
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=dict(type='EncoderDecoder', backbone=dict(backbone)),
        )
    )
    apply_scheme(cfg, scheme)
    cfg.scheme.update(options)
    set_default_rate(cfg)
    return cfg.scheme.get('drop_path_rate'), cfg.scheme.get('drop_path_decay')


def test_networks_that_drop_no_path():
    assert with_rate(RESNET) == (0.1, 'linear')
    assert with_rate(RESNET, 'stochastic_depth') == (0.1, 'linear')
    assert with_rate({**VIT, 'num_heads': 2}) == (0.1, 'constant')


def test_low_rank_adapters():
    # They fill their weights as they are built.
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    vit = dict(type='mmpretrain.VisionTransformer', arch=arch, img_size=32)
    lora = dict(type='mmpretrain.LoRAModel', module=vit, rank=2)
    lora['targets'] = [dict(type='qkv')]
    assert with_rate(lora) == (0.1, 'constant')


def test_given_rates_stay():
    assert with_rate({**VIT, 'num_heads': 2, 'drop_path_rate': 0.3}) == (None, None)
    assert with_rate(SWIN) == (None, None)
    assert with_rate(RESNET, drop_path_rate=0.3) == (0.3, None)
    assert with_rate(RESNET, drop_path_decay='constant') == (0.1, 'constant')


@pytest.mark.parametrize('scheme', ['stimulative', 'gkt', 'collaboration', 'augpath'])
def test_schemes_that_bring_their_own_submodels(scheme):
    rate, _ = with_rate(RESNET, scheme)
    assert rate is None


def test_what_cannot_be_built_is_left_to_the_model():
    assert with_rate(dict(type='NoSuchNet')) == (None, None)


def test_schemes_by_their_class():
    assert with_rate(RESNET, type=Cosub) == (0.1, 'linear')
