"""Probabilities of upstream predictions, and submodels drawn for them."""

import copy
import types

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.drop import DropPath
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import CSRAClsHead
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS
from tiny import labelled_images, one_channel, segmentor_config
from torch import nn

from mmcosub.analysis.network import as_submodel
from mmcosub.analysis.predictions import (
    check_probabilities,
    draw_factors,
    entropy,
    find_called_sites,
    probabilities_of,
    rates_of,
    threshold_of,
)
from mmcosub.submodels import find_branches


def build(cfg):
    init_default_scope('mmseg')
    torch.manual_seed(0)
    built = MODELS.build(ConfigDict(cfg))
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.2)
    built.train(False)
    return built


@pytest.fixture(scope='module')
def model():
    return build(segmentor_config())


@pytest.fixture(scope='module')
def binary():
    return build(one_channel(segmentor_config()))


@pytest.fixture
def batch():
    images, samples = labelled_images(batch=3)
    return dict(inputs=list(images), data_samples=samples)


def test_entropy_is_a_share():
    assert float(entropy(torch.full((7,), 1 / 7))) == pytest.approx(1)
    assert float(entropy(torch.tensor([0.0, 1.0]))) == 0


def test_submodels_are_drawn_as_in_training(model):
    sites = find_branches(model.backbone)
    rates = rates_of(sites, dict(drop_path_rate=0.25))
    assert rates.tolist() == [0.25] * len(sites)
    linear = dict(drop_path_rate=0.3, drop_path_decay='linear')
    assert rates_of(sites, linear)[[0, -1]].tolist() == [0, 0.3]
    assert rates_of(sites, {}).tolist() == [site.rate for site in sites]
    factors = draw_factors(rates, 20000, seed=0)
    assert {*np.unique(factors)} == {0.0, 1 / 0.75}
    assert factors.mean(axis=0) == pytest.approx(1, abs=0.02)
    assert (draw_factors(rates, 4, 0) == draw_factors(rates, 4, 0)).all()
    assert (draw_factors(rates, 4, 0) != draw_factors(rates, 4, 1)).any()


def test_what_makes_no_ensemble(model):
    sites = find_branches(model.backbone)
    with pytest.raises(ValueError, match='All drop-path rates are 0'):
        rates_of(sites, dict(drop_path_rate=0.0))
    with pytest.raises(ValueError, match=r'must be in \[0, 1\), not 1.0'):
        rates_of(sites, dict(drop_path_rate=1.0))
    head = type('Mask2FormerHead', (), {})()
    with pytest.raises(ValueError, match='Mask2FormerHead gives no probabilities'):
        check_probabilities(types.SimpleNamespace(decode_head=head))
    head = CSRAClsHead(num_classes=2, in_channels=4, num_heads=1, lam=0.1)
    with pytest.raises(ValueError, match='CSRAClsHead gives no probabilities'):
        check_probabilities(types.SimpleNamespace(head=head))


class Odd(nn.Module):
    """A block of a class that nobody knows, with one drop path for two branches."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.drop = DropPath(0.5)

    def forward(self, x):
        x = x + self.drop(self.first(x))
        return x + self.drop(x.tanh())


def test_unknown_blocks_are_drawn_by_their_drop_paths(model, batch):
    known = find_called_sites(model, copy.deepcopy(batch))
    assert known == find_branches(model.backbone)
    odd = types.SimpleNamespace(
        backbone=Odd().eval(), data_preprocessor=model.data_preprocessor
    )
    sites = find_called_sites(odd, copy.deepcopy(batch))
    assert rates_of(sites, {}).tolist() == [0.5, 0.5]  # each call is a branch
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad(), as_submodel(odd.backbone, sites, np.array([0.0, 2.0])):
        found = odd.backbone(images)
    torch.testing.assert_close(found, images + 2 * images.tanh())


def test_probabilities_of_stock_predictions(model, binary):
    logits = torch.tensor([[[[0.0, 2.0, -0.8, -0.9]]]])
    (of_one,) = binary.postprocess_result(logits)
    shares = [0.5, 0.880797, 0.310026, 0.289050]  # 1 / (1 + exp(-logit))
    expected = torch.tensor([[1 - share for share in shares], shares])
    found = probabilities_of(of_one)
    torch.testing.assert_close(found[:, 0], expected, atol=1e-6, rtol=0)
    assert threshold_of(binary) == 0.3
    assert of_one.pred_sem_seg.data.tolist() == [[[1, 1, 1, 0]]]
    assert threshold_of(model) is None
    (of_two,) = model.postprocess_result(torch.tensor([[[[1.0]], [[1.0]]]]))
    assert probabilities_of(of_two).flatten().tolist() == [0.5, 0.5]
    sample = DataSample().set_gt_label(2).set_pred_score(torch.tensor([0.2, 0.8]))
    assert probabilities_of(sample).tolist() == pytest.approx([0.2, 0.8])
    with pytest.raises(ValueError, match='neither seg_logits nor pred_score'):
        probabilities_of(DataSample())
