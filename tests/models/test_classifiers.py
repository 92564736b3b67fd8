import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from tiny import BACKBONES
from torch import nn

COSUB = dict(type='Cosub', drop_path_rate=0.4, loss='bce')


def config(rate=0.4, **head):
    backbone = copy.deepcopy(BACKBONES['mmpretrain ViT'])
    backbone.update(out_type='cls_token', out_indices=-1, drop_path_rate=rate)
    head = {
        'type': 'LinearClsHead',
        'num_classes': 5,
        'in_channels': 16,
        'loss': dict(type='CrossEntropyLoss', use_sigmoid=True),
        **head,
    }
    return dict(type='ImageClassifier', backbone=backbone, head=head)


def build(cfg, scheme=None):
    init_default_scope('mmpretrain')
    if scheme:
        cfg = {**cfg, 'type': 'mmcosub.CoTrainingImageClassifier', 'scheme': scheme}
    torch.manual_seed(0)
    model = MODELS.build(copy.deepcopy(cfg))
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.train()
    return model


def mixed_batch():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, 32, 32, generator=generator)
    scores = torch.rand(3, 5, generator=generator).softmax(1)
    return images, [DataSample().set_gt_score(score) for score in scores], scores


def test_published_loss():
    model = build(config(), COSUB)
    images, samples, y = mixed_batch()
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images, samples)
    z1, z2 = seen[0].chunk(2)
    bce = F.binary_cross_entropy_with_logits
    # mmpretrain's own sigmoid cross-entropy sums over classes and means over images.
    label = (bce(z1, y) + bce(z2, y)) * 5
    peer = bce(z1, z2.detach().sigmoid()) + bce(z2, z1.detach().sigmoid())
    torch.testing.assert_close(losses['loss'], label / 4, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses['loss_co_training'], peer / 4)
    total, _ = model.parse_losses(losses)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert 0 <= model.telemetry['agreement'] <= 1


def test_weight_and_rates_zero_is_the_stock_model():
    cfg = config(rate=0.0, loss=dict(type='CrossEntropyLoss'))
    stock, ours = build(cfg), build(cfg, dict(type='Cosub', weight=0.0))
    images, samples, _ = mixed_batch()
    expected, got = stock.loss(images, samples), ours.loss(images, samples)
    assert got.pop('loss_co_training') == 0
    assert set(got) == set(expected)
    torch.testing.assert_close(got['loss'], expected['loss'])
    assert set(ours.state_dict()) == set(stock.state_dict())
    stock.eval(), ours.eval()
    assert torch.equal(stock(images), ours(images))


def test_head_without_logits_is_refused():
    cfg = config()
    cfg['head'] = dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=16)
    with pytest.raises(ValueError, match=r'MultiLabelLinearClsHead .*LinearClsHead'):
        build(cfg, COSUB)
