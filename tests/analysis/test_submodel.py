"""A network as one submodel: against the plain execution, and block by block."""

import copy
import warnings

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from networks import TINY
from tiny import backbone
from torch.utils._pytree import tree_leaves

from mmcosub.analysis.network import Network
from mmcosub.submodels import Plan, run_submodels

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tensors(outputs):
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def assert_same(found, wanted, tolerance=1e-5):
    found, wanted = tensors(found), tensors(wanted)
    assert len(found) == len(wanted) > 0
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def tiny(name):
    """A network of some known block, in evaluation mode."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of old arguments, by mmcv and torch
        config = copy.deepcopy(TINY[name])
        if not callable(config) and config.get('drop_path_rate', 0) is None:
            del config['drop_path_rate']  # the network takes no such argument
        model = config(0.0) if callable(config) else MODELS.build(config)
    model.train(False)
    return model


@pytest.mark.parametrize('name', sorted(TINY)[::4])
def test_is_what_the_plain_execution_computes(name):
    model = tiny(name)
    network = network_of(model)
    sites, rng = network.sites, np.random.default_rng(0)
    kept = {depth for depth in network.full if rng.random() < 0.6}
    factors = np.array([float(site.depth in kept) for site in sites])
    plan = Plan(np.tile(factors[:, None, None], (1, 1, len(IMAGES))))
    with torch.no_grad():
        wanted, _ = run_submodels(model, IMAGES, plan, sites, 'plain')
        full = model(IMAGES)
        with network.submodel(kept):
            assert_same(model(IMAGES), wanted)
            assert_same(model(IMAGES[:1]), [w[:1] for w in tensors(wanted)])
        assert_same(model(IMAGES), full, 0.0)  # and is the whole again


def test_all_blocks_are_the_network_to_the_bit():
    model = backbone('mmpretrain Swin')
    model.train(False)
    network = network_of(model)
    with torch.no_grad(), network.submodel(network.full):
        inside = model(IMAGES)
    assert_same(inside, model(IMAGES), 0.0)


def test_kept_blocks_count_and_others_do_not():
    model = backbone('mmseg ViT')
    network = network_of(model)
    assert network.blocks == [f'layers.{i}' for i in range(4)]
    with network.submodel({0, 2, 3}), torch.no_grad():
        before = model(IMAGES)
    torch.nn.init.normal_(model.layers[1].ffn.layers[1].weight)
    with network.submodel({0, 2, 3}), torch.no_grad():
        assert_same(model(IMAGES), before, 0.0)
    torch.nn.init.normal_(model.layers[2].ffn.layers[1].weight)
    with network.submodel({0, 2, 3}), torch.no_grad():
        after = model(IMAGES)
    assert not torch.equal(after[-1], before[-1])


def test_blocks_that_can_go():
    assert not network_of(backbone('mmpretrain Swin')).fixed
    # The first block of a later stage halves the map.
    network = network_of(resnet18())
    stays = [network.blocks[i] for i in sorted(network.fixed)]
    assert stays == ['layer2.0', 'layer3.0', 'layer4.0']


def network_of(backbone):
    """Of a backbone as a whole model."""
    model = torch.nn.Module()
    model.backbone = backbone
    return Network(model, (32, 32))


def resnet18():
    init_default_scope('mmseg')
    model = MODELS.build(dict(type='mmpretrain.ResNet', depth=18))
    model.train(False)
    return model
