"""Probabilities of upstream predictions, and submodels drawn for them."""

import types

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import CSRAClsHead
from mmpretrain.structures import DataSample
from mmseg.registry import MODELS
from tiny import labelled_images, one_channel, segmentor_config
from torch import nn

from mmcosub.analysis.predictions import (
    check_probabilities,
    entropy,
    probabilities_of,
    threshold_of,
)


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


def test_what_has_no_probabilities():
    head = type('Mask2FormerHead', (), {})()
    with pytest.raises(ValueError, match='Mask2FormerHead gives no probabilities'):
        check_probabilities(types.SimpleNamespace(decode_head=head))
    head = CSRAClsHead(num_classes=2, in_channels=4, num_heads=1, lam=0.1)
    with pytest.raises(ValueError, match='CSRAClsHead gives no probabilities'):
        check_probabilities(types.SimpleNamespace(head=head))


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
