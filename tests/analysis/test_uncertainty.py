"""Submodels as an ensemble, against doing it step by step."""

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
from mmseg.evaluation import IoUMetric
from mmseg.registry import MODELS
from tiny import labelled_images, one_channel, segmentor_config
from torch import nn

from mmcosub.analysis.network import as_submodel
from mmcosub.analysis.predictions import (
    check_probabilities,
    draw_factors,
    find_called_sites,
    ignored_label,
    labels_of,
    predicted_classes,
    probabilities_of,
    rates_of,
    threshold_of,
)
from mmcosub.analysis.uncertainty import (
    SubmodelEnsemble,
    check_ranking,
    finds_errors,
)
from mmcosub.submodels import Plan, find_branches, run_submodels


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


def test_step_by_step(model, batch):
    sites = find_branches(model.backbone)
    factors = draw_factors(rates_of(sites, {}), 3, seed=1)
    ensemble = SubmodelEnsemble(model, 5, factors, sites)
    assert ensemble.add(copy.deepcopy(batch)) == 3

    images = torch.stack(batch['inputs'])
    plan = Plan(np.repeat(factors.T[:, :, None], 3, axis=2))
    with torch.no_grad():
        inputs = model.data_preprocessor(copy.deepcopy(batch), False)['inputs']
        features, _ = run_submodels(model.backbone, inputs, plan, sites, 'plain')
        logits = model.decode_head(features)
        logits = nn.functional.interpolate(logits, images.shape[2:], mode='bilinear')
        each = logits.softmax(1).unflatten(0, (3, 3))  # submodels, images
    mean = each.mean(0)
    labels = torch.stack([s.gt_sem_seg.data[0] for s in batch['data_samples']])
    known = labels != 255
    nll = -mean.gather(1, labels.clamp(max=4)[:, None])[:, 0].log()[known].mean()
    quality = ensemble.result()
    assert quality['mean']['nll'] == pytest.approx(float(nll), rel=1e-4)
    right = (mean.argmax(1) == labels)[known].float().mean()
    assert quality['mean']['accuracy'] == pytest.approx(100 * float(right), rel=1e-5)
    differ = (each.argmax(2) != mean.argmax(1)).float().mean((0, 2, 3))
    found = [row['disagreement'] for row in ensemble.rows]
    assert found == pytest.approx(differ.tolist(), abs=1e-3)
    ranking = ensemble.ranking('disagreement')
    assert [row['rank'] for row in ranking] == [1, 2, 3]
    assert ranking[0]['disagreement'] == max(found)
    # And the full network is the stock one.
    with torch.no_grad():
        stock = model.test_step(copy.deepcopy(batch))
    wrong = [
        float((s.pred_sem_seg.data[0] != y)[y != 255].float().mean())
        for s, y in zip(stock, labels, strict=True)
    ]
    assert [row['wrong_of_full'] for row in ensemble.rows] == pytest.approx(wrong)


def test_one_output_channel(binary):
    images, samples = labelled_images(batch=3, classes=2)
    batch = dict(inputs=list(images), data_samples=samples)
    with torch.no_grad():  # so that the share is about the threshold
        logits = binary(images, mode='tensor')
        binary.decode_head.conv_seg.bias += -0.85 - logits.median()
        stock = binary.test_step(copy.deepcopy(batch))
    found = torch.stack([s.pred_sem_seg.data[0].long() for s in stock])
    shares = torch.stack([s.seg_logits.data[0] for s in stock])
    assert ((shares > 0.3) != (shares > 0.5)).float().mean() > 0.1
    sites = find_branches(binary.backbone)
    full = np.ones((1, len(sites)))
    factors = draw_factors(rates_of(sites, dict(drop_path_rate=0.3)), 2, seed=1)
    ensemble = SubmodelEnsemble(binary, 2, np.concatenate([full, factors]), sites)
    drawn = []
    ensemble.add(batch, lambda sample, of: drawn.append(of))

    labels = torch.stack([s.gt_sem_seg.data[0] for s in samples])
    areas = IoUMetric.intersect_and_union(found, labels, 2, 255)
    quality = ensemble.result()['full']
    assert quality['mIoU'] == pytest.approx(100 * float((areas[0] / areas[1]).mean()))
    right = (found == labels)[labels != 255].float().mean()
    assert quality['accuracy'] == pytest.approx(100 * float(right), rel=1e-5)
    true = torch.where(labels == 1, shares, 1 - shares)[labels != 255]
    assert quality['nll'] == pytest.approx(float(-true.log().mean()), rel=1e-4)
    for of, whole in zip(drawn, found, strict=True):
        assert torch.equal(of.predicted[0].long(), whole)
        assert torch.equal(of.prediction, (of.mean[1] > 0.3).long())
        other = [(each != of.prediction).float() for each in of.predicted]
        torch.testing.assert_close(of.disagreement, sum(other) / 3)


def test_what_the_head_ignores_does_not_count(model, batch):
    other = copy.deepcopy(model)
    other.decode_head.ignore_index = 254
    assert (ignored_label(model), ignored_label(other)) == (255, 254)
    renamed = copy.deepcopy(batch)
    for sample in renamed['data_samples']:
        label = sample.gt_sem_seg.data
        label[label == 255] = 254
    sites = find_branches(model.backbone)
    found = []
    for each, images in ((model, batch), (other, renamed)):
        ensemble = SubmodelEnsemble(each, 5, np.ones((1, len(sites))), sites)
        ensemble.add(images)
        found.append(ensemble.result()['full'])
    assert found[0] == found[1]
    classifier = types.SimpleNamespace(head=types.SimpleNamespace(num_classes=1000))
    assert ignored_label(classifier) == -1  # its class 255 is one as any other


def test_without_labels(model, batch):
    for sample in batch['data_samples']:
        del sample.gt_sem_seg
    sites = find_branches(model.backbone)
    factors = draw_factors(rates_of(sites, {}), 2, seed=1)
    ensemble = SubmodelEnsemble(model, 5, factors, sites)
    ensemble.add(batch)
    assert ensemble.result() == {}
    assert all(row['wrong_of_full'] is None for row in ensemble.rows)
    assert ensemble.ranking('entropy')[0]['rank'] == 1


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
    with pytest.raises(ValueError, match='-k must be 1 or more submodels, not 0'):
        draw_factors(np.array([0.5]), 0, 0)
    with pytest.raises(ValueError, match='cannot disagree with itself'):
        check_ranking('disagreement', 1)
    check_ranking('entropy', 1)
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
    assert predicted_classes(found, 0.3).tolist() == [[1, 1, 1, 0]]
    assert of_one.pred_sem_seg.data.tolist() == [[[1, 1, 1, 0]]]
    assert labels_of(of_one) is None
    assert threshold_of(model) is None
    (of_two,) = model.postprocess_result(torch.tensor([[[[1.0]], [[1.0]]]]))
    assert probabilities_of(of_two).flatten().tolist() == [0.5, 0.5]
    sample = DataSample().set_gt_label(2).set_pred_score(torch.tensor([0.2, 0.8]))
    assert probabilities_of(sample).tolist() == pytest.approx([0.2, 0.8])
    assert int(labels_of(sample)) == 2
    with pytest.raises(ValueError, match='neither seg_logits nor pred_score'):
        probabilities_of(DataSample())


def test_finding_errors():
    wrong = [0.0, 0.1, 0.2, 0.3, 0.4, 0.0, 0.0, 0.0, 0.0, 0.5]
    found = finds_errors(wrong, wrong)
    assert found['wrong_in_first_fifth'] == pytest.approx(45)
    assert found['wrong'] == pytest.approx(15)
    assert found['rank_correlation'] == pytest.approx(1)
    assert finds_errors([1, 2, 4], [3, 2, 1])['rank_correlation'] == pytest.approx(-1)
    assert finds_errors([1, 1], [0.1, 0.2])['rank_correlation'] is None
