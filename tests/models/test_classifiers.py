import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmpretrain.models.backbones import LeViT
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from tiny import BACKBONES
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.losses import SOFT_LOSSES

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


def timm_config(loss):
    return dict(
        type='TimmClassifier',
        model_name='vit_tiny_patch16_224',
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=3,
        num_heads=2,
        num_classes=5,
        loss=loss,
    )


def conformer_config(rate=0.4, **head):
    arch = dict(embed_dims=16, depths=6, channel_ratio=1, num_heads=2)
    backbone = dict(type='Conformer', arch=arch, base_channels=4, drop_path_rate=rate)
    head = {
        'type': 'ConformerHead',
        'num_classes': 5,
        'in_channels': [16, 16],
        **head,
    }
    return dict(type='ImageClassifier', backbone=backbone, head=head)


def distilled_config(kind, **head):
    """EfficientFormer or LeViT, whose heads distil unless told otherwise."""
    if kind == 'EfficientFormer':
        arch = dict(layers=[1, 2], embed_dims=[8, 16], vit_num=0)
        arch['downsamples'] = [False, True]
        backbone = dict(arch=arch, reshape_last_feat=True, out_indices=1)
    else:
        backbone = dict(arch='tiny', img_size=64)
    head_type = 'LeViTClsHead' if kind == 'LeViT' else 'EfficientFormerClsHead'
    return dict(
        type='ImageClassifier',
        backbone=dict(type=kind, drop_path_rate=0.4, **backbone),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type=head_type, num_classes=5, in_channels=16, **head),
    )


def build(cfg, scheme=None):
    init_default_scope('mmpretrain')
    if scheme:
        cfg = co_trained_model(cfg, scheme)
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


@pytest.mark.parametrize('threshold', [None, 0.0, 0.15])
@pytest.mark.parametrize('kind', ['ImageClassifier', 'TimmClassifier'])
def test_published_loss(kind, threshold):
    # A quarter each of BCE(z1, y), BCE(z2, y), BCE(z1, s(sg z2)), BCE(z2, s(sg z1)).
    loss = dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=threshold)
    cfg = config(loss=loss) if kind == 'ImageClassifier' else timm_config(loss)
    # The hook on timm's model sees rows as they come, of shared ones in another order.
    model = build(cfg, {**COSUB, 'execution': 'kept_rows'}).double()
    images, samples, y = mixed_batch()
    y = y.double()
    if threshold is not None:
        y = (y > threshold).double()
    seen = []
    module = model.head if kind == 'ImageClassifier' else model.model
    module.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images.double(), samples)
    total, _ = model.parse_losses(losses)
    got = torch.autograd.grad(total, seen[0], retain_graph=True)[0]

    z = seen[0].detach().requires_grad_()
    z1, z2 = z.chunk(2)
    bce = F.binary_cross_entropy_with_logits
    label = bce(z1, y) + bce(z2, y)
    peer = bce(z1, z2.detach().sigmoid()) + bce(z2, z1.detach().sigmoid())
    expected = (label + peer) / 4
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(losses['loss'], label / 4, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got, torch.autograd.grad(expected, z)[0])
    total.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert 0 <= model.telemetry['agreement'] <= 1


def check_published_loss(model, loss, y):
    """A quarter each of BCE(z1, y) and BCE(z2, y), and of both to each other."""
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = loss()
    z1, z2 = seen[0].detach().chunk(2)
    bce = F.binary_cross_entropy_with_logits
    label = bce(z1, y) + bce(z2, y)
    torch.testing.assert_close(losses['loss'].detach(), label / 4)
    peer = bce(z1, z2.sigmoid()) + bce(z2, z1.sigmoid())
    torch.testing.assert_close(losses['loss_co_training'].detach(), peer / 4)


def test_mixup_is_shared_by_the_views():
    augments = [dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    loss = dict(type='mmcosub.BinaryCrossEntropyLoss', threshold=0.0)
    cfg = {
        **config(loss=loss),
        'data_preprocessor': dict(num_classes=5),
        'train_cfg': dict(augments=augments),
    }
    model = build(cfg, COSUB)
    samples = [DataSample().set_gt_label(i) for i in range(4)]
    images = [torch.full((3, 32, 32), 60 * i, dtype=torch.uint8) for i in range(4)]
    data = model.data_preprocessor(dict(inputs=images, data_samples=samples), True)
    assert data['inputs'].shape == (4, 3, 32, 32)  # one mix an image, not one a view
    assert max((s.gt_score > 0).sum() for s in data['data_samples']) == 2
    y = torch.stack([s.gt_score for s in data['data_samples']]) > 0
    check_published_loss(model, lambda: model(**data, mode='loss'), y.float())


def test_label_smoothing_and_hard_labels():
    smooth = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    scheme = dict(type='Cosub', drop_path_rate=0.4)
    images, _, _ = mixed_batch()
    samples = [DataSample().set_gt_label(i) for i in range(3)]
    model = build(config(loss=smooth), scheme)
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images, samples)
    expected = sum(
        F.cross_entropy(z, torch.arange(3), label_smoothing=0.1)
        for z in seen[0].chunk(2)
    )
    torch.testing.assert_close(losses['loss'], expected / 4)


def test_multi_label_head():
    cfg = config(loss=dict(type='mmcosub.BinaryCrossEntropyLoss'))
    cfg['head'].update(type='MultiLabelLinearClsHead')
    model = build(cfg, COSUB)
    images, _, _ = mixed_batch()
    samples = [DataSample().set_gt_label([i, i + 1]) for i in range(3)]
    for sample in samples:
        sample.set_field(5, 'num_classes', field_type='metainfo')
    y = torch.tensor([[1.0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 1, 1, 0]])
    check_published_loss(model, lambda: model.loss(images, samples), y)


@pytest.mark.parametrize(
    ('loss', 'fitting'),
    [
        (dict(type='CrossEntropyLoss'), 'ce'),
        (dict(type='CrossEntropyLoss', use_soft=True), 'ce'),
        (dict(type='CrossEntropyLoss', use_sigmoid=True), 'bce'),
        (dict(type='mmcosub.BinaryCrossEntropyLoss'), 'bce'),
        (dict(type='FocalLoss'), 'bce'),
        (dict(type='AsymmetricLoss'), 'bce'),
        (dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'), 'ce'),
        (dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='multi_label'), 'bce'),
        (dict(type='SeesawLoss', num_classes=5), 'ce'),
    ],
    ids=str,
)
def test_soft_loss_goes_with_the_label_loss(loss, fitting):
    model = build(config(loss=loss), dict(type='Cosub', drop_path_rate=0.4))
    assert model.scheme.soft_loss.function is SOFT_LOSSES[fitting]
    build(config(loss=loss), {**COSUB, 'loss': fitting})
    other = 'bce' if fitting == 'ce' else 'ce'
    with pytest.raises(ValueError, match=rf'scheme.loss={other!r} .*{fitting!r}'):
        build(config(loss=loss), {**COSUB, 'loss': other})


CE, BCE = dict(type='CrossEntropyLoss'), dict(type='mmcosub.BinaryCrossEntropyLoss')
WEIGHTS = [1.0, 2.0, 0.5, 3.0, 10.0]
SMOOTH = dict(type='LabelSmoothLoss', label_smooth_val=0.1)


@pytest.mark.parametrize(
    'settings',
    [{}, dict(loss_weight=10.0), dict(class_weight=WEIGHTS),
     dict(class_weight=[7.0] * 5, loss_weight=0.1), dict(reduction='none')],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    'loss',
    [CE, dict(CE, use_soft=True), dict(CE, use_sigmoid=True), dict(SMOOTH), BCE,
     dict(CE, use_sigmoid=True, pos_weight=WEIGHTS),
     dict(SMOOTH, mode='multi_label', use_sigmoid=True)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize('kind', ['linear', 'multi-label', 'timm', 'two logits'])
@pytest.mark.sweep(every=3)
def test_weight_means_the_same_under_every_label_loss(kind, loss, settings):
    # With logits of 0 a cross-entropy is log C (binary: log 2) whatever its target, so
    # the two terms are as w to 1 - w.
    loss = {**loss, **settings}
    soft = loss.get('use_soft') or loss['type'] == 'LabelSmoothLoss'
    binary = loss['type'] == BCE['type'] or loss.get('use_sigmoid')
    if loss['type'] == BCE['type'] and not settings.keys() <= {'loss_weight'}:
        return  # it has no such setting
    if kind == 'multi-label' and not binary:
        return
    scheme = dict(type='Cosub', drop_path_rate=0.4, weight=0.8)
    cfg = {'timm': timm_config, 'two logits': lambda x: conformer_config(loss=x)}
    cfg = cfg.get(kind, lambda x: config(loss=x))(loss)
    if kind == 'multi-label':
        cfg['head']['type'] = 'MultiLabelLinearClsHead'
    model = build(cfg, scheme).double()
    classifiers = [m for m in model.modules() if getattr(m, 'out_features', 0) == 5]
    assert classifiers
    for linear in classifiers:
        nn.init.zeros_(linear.weight), nn.init.zeros_(linear.bias)
    images, samples, _ = mixed_batch()
    if kind != 'multi-label' and not (soft or binary):
        samples = [DataSample().set_gt_label(i) for i in (0, 2, 3)]
    logged = model.parse_losses(model.loss(images.double(), samples))[1]
    ratio = logged['loss_co_training'] / logged['loss_label']
    assert ratio.item() == pytest.approx(4.0, rel=1e-6)


@pytest.mark.parametrize(
    ('kind', 'settings', 'scale'),
    [('linear', {}, 5), ('linear', dict(loss_weight=3.0), 15), ('timm', {}, 1),
     ('linear', dict(reduction='none'), 1), ('timm', dict(reduction='sum'), 3 * 5)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize('loss', ['FocalLoss', 'AsymmetricLoss'])
def test_sums_over_classes_are_followed(loss, kind, settings, scale):
    loss = dict(type=loss, **settings)
    cfg = timm_config(loss) if kind == 'timm' else config(loss=loss)
    model = build(cfg, {**COSUB, 'execution': 'kept_rows'}).double()
    images, samples, _ = mixed_batch()
    seen = []
    module = model.model if kind == 'timm' else model.head
    module.register_forward_hook(lambda *args: seen.append(args[-1]))
    got = model.loss(images.double(), samples)['loss_co_training']
    z1, z2 = seen[0].chunk(2)
    bce = F.binary_cross_entropy_with_logits
    soft = bce(z1, z2.sigmoid()) + bce(z2, z1.sigmoid())
    torch.testing.assert_close(got, scale * soft / 4)


def test_timm_classifier_checkpoint_is_timms():
    import timm

    model = build(timm_config(dict(type='CrossEntropyLoss')), {**COSUB, 'loss': 'ce'})
    kwargs = timm_config(None)
    plain = timm.create_model(
        **{k: v for k, v in kwargs.items() if k not in ('type', 'loss')}
    )
    plain.load_state_dict(model.state_dict(), strict=True)
    images, samples, _ = mixed_batch()
    plain.eval(), model.eval()
    assert torch.equal(plain(images), model(images))
    assert model.predict(images, samples)[0].pred_score.shape == (5,)


def test_timm_classifier_that_recomputes():
    images, samples, _ = mixed_batch()
    grads = []
    for with_cp in (False, True):
        cfg = {**timm_config(dict(type='CrossEntropyLoss')), 'with_cp': with_cp}
        model = build(cfg, {**COSUB, 'loss': 'ce', 'seed': 0}).double()
        calls: list[int] = []
        layer = model.model.blocks[0].mlp.fc1
        layer.register_forward_hook(lambda *_, calls=calls: calls.append(0))
        sum(model.loss(images.double(), samples).values()).backward()
        assert len(calls) == 1 + with_cp
        grads.append([p.grad for p in model.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=1e-9, atol=1e-12)


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


def test_two_logits_teach_their_like():
    # Each of Conformer's two: as with one, and the sum of both.
    loss = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    model = build(conformer_config(loss=loss), dict(type='Cosub')).double()
    images, _, _ = mixed_batch()
    labels = torch.arange(3)
    samples = [DataSample().set_gt_label(i) for i in labels]
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images.double(), samples)
    total, _ = model.parse_losses(losses)
    got = torch.autograd.grad(total, seen[0], retain_graph=True)

    pairs = [z.detach().requires_grad_() for z in seen[0]]
    assert not torch.equal(*pairs)
    label = peer = 0.0
    for z in pairs:
        z1, z2 = z.chunk(2)
        for student, teacher in ((z1, z2), (z2, z1)):
            label += F.cross_entropy(student, labels, label_smoothing=0.1) / 4
            peer += F.cross_entropy(student, teacher.detach().softmax(1)) / 4
    torch.testing.assert_close(losses['loss'], label)
    torch.testing.assert_close(losses['loss_co_training'], peer)
    expected = torch.autograd.grad(label + peer, pairs)
    torch.testing.assert_close(list(got), list(expected))
    classes = torch.stack([z.argmax(1) for z in pairs]).unflatten(1, (2, 3))
    same = (classes[:, 0] == classes[:, 1]).double().mean()
    assert model.telemetry['agreement'] == pytest.approx(same.item())


def test_two_logits_without_views_are_stock():
    cfg = conformer_config(rate=0.0)
    stock, ours = build(cfg), build(cfg, dict(type='Cosub', weight=0.0))
    images, samples, _ = mixed_batch()
    found = []
    for model in (stock, ours):
        model.double()
        total, _ = model.parse_losses(model.loss(images.double(), samples))
        total.backward()
        grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((total, grads))
    torch.testing.assert_close(found[1], found[0], rtol=1e-12, atol=1e-12)
    ours.load_state_dict(stock.state_dict(), strict=True)
    stock.eval(), ours.eval()
    expected, got = stock.predict(images.double()), ours.predict(images.double())
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.pred_score, b.pred_score)


@pytest.mark.parametrize('way', ['intermediate', 'representation', 'kernel'])
def test_further_objectives_of_two_logits_are_refused(way):
    scheme = {'type': 'Collaboration', way: 0.1}
    with pytest.raises(ValueError, match=f'two logits .*scheme.{way}'):
        build(conformer_config(), scheme)


@pytest.mark.parametrize('kind', ['EfficientFormer', 'LeViT'])
def test_distilled_heads_train_undistilled(kind, monkeypatch):
    # LeViT refuses any sizes but those that it lists.
    sizes = dict(embed_dims=16, num_heads=2, depths=1, key_dims=4)
    tiny = {name: [size] * 3 for name, size in sizes.items()}
    monkeypatch.setitem(LeViT.arch_zoo, 'tiny', tiny)
    scheme = dict(type='Cosub')
    with pytest.raises(ValueError, match=rf'{kind}ClsHead.*distillation=False'):
        build(distilled_config(kind), scheme)
    model = build(distilled_config(kind, distillation=False), scheme)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(3)
    samples = [DataSample().set_gt_label(i) for i in labels]
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(images, samples)
    expected = sum(F.cross_entropy(z, labels) for z in seen[0].chunk(2)) / 4
    torch.testing.assert_close(losses['loss'], expected)
    assert losses['loss_co_training'] > 0


def test_head_without_logits_is_refused():
    cfg = config()
    cfg['head'] = dict(type='ArcFaceClsHead', num_classes=5, in_channels=16)
    with pytest.raises(ValueError, match=r'ArcFaceClsHead .*LinearClsHead'):
        build(cfg, COSUB)


class TwoTermHead(LinearClsHead):
    """A user's, with a penalty beside its label loss."""

    def _get_loss(self, cls_score, data_samples, **kwargs):
        losses = super()._get_loss(cls_score, data_samples, **kwargs)
        return dict(loss_cls=losses['loss'], loss_size=cls_score.square().mean())


def test_a_head_of_several_losses(monkeypatch):
    monkeypatch.setitem(MODELS._module_dict, 'TwoTermHead', TwoTermHead)
    images, samples, _ = mixed_batch()
    scheme = dict(type='Cosub', weight=0.0)
    stock = build(config(0.0, type='TwoTermHead'))
    model = build(config(0.0, type='TwoTermHead'), scheme)
    expected, got = stock.loss(images, samples), model.loss(images, samples)
    assert got.pop('loss_co_training') == 0
    assert got.keys() == expected.keys() == {'loss_cls', 'loss_size'}
    torch.testing.assert_close(got, expected)
    total, logged = model.parse_losses(got)
    assert logged['loss'] == total
    telemetry = model.telemetry
    torch.testing.assert_close(telemetry['label_view0'], total.detach())
    build(config(type='TwoTermHead'), dict(type='Collaboration')).loss(images, samples)


@pytest.mark.parametrize(
    'scheme',
    [dict(type='Cosub'), dict(type='Collaboration', intermediate=1.0)],
    ids=str,
)
def test_a_loss_of_every_image_counts_by_its_mean(scheme):
    images, samples, _ = mixed_batch()
    of_each, of_all = [], []
    for reduction, kept in (('none', of_each), ('mean', of_all)):
        loss = dict(type='CrossEntropyLoss', use_soft=True, reduction=reduction)
        model = build(config(loss=loss), dict(scheme, seed=3)).double()
        losses = model.loss(images.double(), samples)
        kept += [model.parse_losses(losses)[1], model.telemetry]
    torch.testing.assert_close(of_each, of_all)


@pytest.mark.parametrize('asked', ['auto', 'bce'])
@pytest.mark.parametrize('kind', ['ImageClassifier', 'TimmClassifier'])
def test_soft_loss_goes_with_another_label_loss_later(kind, asked):
    """MMPretrain's SwitchRecipeHook gives the model one on the way."""
    binary = dict(type='mmcosub.BinaryCrossEntropyLoss')
    softmax = dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original')
    of = {'ImageClassifier': lambda loss: config(loss=loss)}
    cfg = of.get(kind, timm_config)(binary)
    model = build(cfg, dict(COSUB, loss=asked))
    images, samples, _ = mixed_batch()
    model.loss(images, samples)
    assert model.scheme.soft_loss.function is SOFT_LOSSES['bce']
    holder = model.head if kind == 'ImageClassifier' else model
    holder.loss_module = MODELS.build(softmax)
    if asked == 'bce':
        with pytest.raises(ValueError, match='the label loss LabelSmoothLoss uses'):
            model.loss(images, samples)
    else:
        model.loss(images, samples)
        assert model.scheme.soft_loss.function is SOFT_LOSSES['ce']
