import importlib

import pytest
from mmcv.cnn.bricks.drop import DropPath
from tiny import BACKBONES, TAU, backbone
from torch import nn

from mmcosub.submodels import Branch, find_branches, known_blocks, register_block


@pytest.mark.parametrize('name', known_blocks())
def test_known_blocks_exist(name):
    module, _, cls = name.rpartition('.')
    if module.startswith(('mmseg', 'mmpretrain')):
        assert issubclass(getattr(importlib.import_module(module), cls), nn.Module)


@pytest.mark.parametrize('name', BACKBONES)
def test_rates_are_the_stock_networks(name):
    sites = find_branches(backbone(name))
    assert [site.depth for site in sites] == [0, 0, 1, 1, 2, 2, 3, 3]
    linear = [TAU * site.depth / 3 for site in sites]
    if name == 'mmseg ViT':  # it never drops its attention
        linear[::2] = [0.0] * 4
    assert [site.rate for site in sites] == pytest.approx(linear)


@pytest.mark.parametrize(('name', 'branch'), [(None, Branch(len)), ('a.B', len)])
def test_only_classes_and_branches_are_registered(name, branch):
    with pytest.raises(ValueError, match='takes a class or its full name'):
        register_block(name, branch)


def test_no_known_block():
    with pytest.raises(ValueError, match=r'^.{,260}$'):
        find_branches(nn.Sequential(nn.Conv2d(3, 3, 1)))


def test_drop_path_outside_known_blocks():
    model = nn.Sequential(backbone('mmseg Swin'), DropPath(0.1))
    with pytest.raises(ValueError, match=r"has a DropPath at '1'.*register_block"):
        find_branches(model)
    model[1].drop_prob = 0.0
    assert find_branches(model)


def test_a_subclass_with_its_own_forward_is_not_known():
    model = backbone('mmseg Swin')
    cls = type(model.stages[0].blocks[0])

    class Inherits(cls):
        pass

    class Overrides(cls):
        def forward(self, x, hw_shape):
            return x

    model.stages[0].blocks[0].__class__ = Inherits
    assert len(find_branches(model)) == 8
    model.stages[0].blocks[1].__class__ = Overrides
    with pytest.raises(ValueError, match=r'stages\.0\.blocks\.1'):
        find_branches(model)
