"""What `weight` means at every decode head, under every setting of its label loss.

With logits of 0 a cross-entropy is log C (binary: log 2) at every pixel, whatever the
label or the other view says. So co-training and label loss are as w to 1 - w.
"""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from stock_settings import batch, build, cascade, segmentor
from torch import nn

from mmcosub.losses import value_of_ones
from mmcosub.models.segmentor_heads import Head

W = 0.8
SCHEMES = {
    'cosub': (dict(type='Cosub', weight=W), W / (1 - W)),
    'augpath': (dict(type='AugPath', loss='ce'), 1.0),
    'collaboration': (dict(type='Collaboration', output=0.8), 0.8),
    'stimulative': (dict(type='Stimulative', weight=0.7, loss='ce', seed=6), 0.7),
}
CE = dict(type='CrossEntropyLoss')
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0]
LOSSES = {
    'upstream': CE,
    'loss_weight': dict(CE, loss_weight=10.0),
    'avg_non_ignore': dict(CE, avg_non_ignore=True, loss_weight=0.4),
    'weights of 1': dict(CE, class_weight=[1.0] * 5),
    'class weights': dict(CE, class_weight=WEIGHTS, loss_weight=2.0),
    'sum': dict(CE, reduction='sum'),
    'none': dict(CE, reduction='none', avg_non_ignore=True),
    'sum of class weights': dict(CE, reduction='sum', class_weight=WEIGHTS),
    'none of class weights': dict(CE, reduction='none', class_weight=WEIGHTS),
    'two': [dict(CE, loss_weight=0.3), dict(CE, loss_weight=2, avg_non_ignore=True)],
    'of two names': [CE, dict(CE, class_weight=WEIGHTS, loss_name='loss_weighted')],
    'logged only': [dict(CE, loss_weight=7.0, loss_name='entropy'), CE],
    'sigmoid': dict(CE, use_sigmoid=True, loss_weight=5.0),
    'sigmoid, avg_non_ignore': dict(CE, use_sigmoid=True, avg_non_ignore=True),
    'sigmoid, sum': dict(CE, use_sigmoid=True, reduction='sum'),
}


def heads_of(cfg):
    heads = cfg['decode_head'], cfg.get('auxiliary_head')
    flat = [h for part in heads for h in (part if isinstance(part, list) else [part])]
    return [head for head in flat if head]


def zeroed(cfg, scheme):
    """A segmentor whose every head puts out logits of 0, and trains all of them."""
    model = build(cfg, {**scheme, 'auxiliary': True})
    for name, module in model.named_modules():
        if name.endswith('conv_seg'):
            nn.init.zeros_(module.weight), nn.init.zeros_(module.bias)
    return model


def ratios(model, ignored, classes=5):
    """Of co-training loss to label loss, by head."""
    data = batch(model, classes=classes)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data[:, : round(64 * ignored)] = 255
    _, logged = model.parse_losses(model.loss(**data))
    found = {}
    for name in {key.partition('.')[0] for key in logged} - {'loss'}:
        label = sum(v for k, v in logged.items() if k.startswith(f'{name}.loss')) - (
            soft := logged[f'{name}.loss_co_training']
        )
        found[name] = (soft / label).item()
    return found


@pytest.mark.parametrize('ignored', [0, 0.5, 0.875])
@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('make', [segmentor, cascade])
@pytest.mark.sweep(every=2)
def test_ratio_is_the_formula(make, loss, ignored):
    cfg = make()
    for head in heads_of(cfg):
        head['loss_decode'] = copy.deepcopy(LOSSES[loss])
    scheme, expected = SCHEMES['cosub']
    found = ratios(zeroed(cfg, scheme), ignored)
    assert len(found) == 2
    assert found == pytest.approx(dict.fromkeys(found, expected), rel=1e-6)


@pytest.mark.parametrize('scheme', SCHEMES)
def test_ratio_is_every_schemes_own(scheme):
    # Heads of their own weights each: the auxiliary head's is not the main head's.
    cfg = segmentor()
    cfg['decode_head']['loss_decode'] = dict(CE, loss_weight=10.0)
    cfg['auxiliary_head']['loss_decode'] = dict(CE, loss_weight=0.4)
    settings, expected = SCHEMES[scheme]
    found = ratios(zeroed(cfg, settings), 0.5)
    assert found == pytest.approx(dict.fromkeys(found, expected), rel=1e-6)


@pytest.mark.parametrize('ignored', [0, 0.5])
@pytest.mark.parametrize(
    'settings',
    [{}, dict(loss_weight=3.0), dict(class_weight=[5.0]), dict(avg_non_ignore=True)],
    ids=str,
)
def test_binary_heads(settings, ignored):
    cfg = segmentor()
    for head in heads_of(cfg):
        loss = dict(CE, use_sigmoid=True, **settings)
        head.update(num_classes=2, out_channels=1, threshold=0.5, loss_decode=loss)
    found = ratios(zeroed(cfg, SCHEMES['cosub'][0]), ignored, classes=2)
    assert found == pytest.approx(dict.fromkeys(found, W / (1 - W)), rel=1e-6)


@pytest.mark.parametrize('loss_weight', [1.0, 3.0])
def test_regions_count_where_there_is_no_other_loss(loss_weight):
    """Dice is not an average over pixels, so its weight counts, and no average."""
    dice = dict(type='DiceLoss', use_sigmoid=False, loss_weight=loss_weight)
    terms = {}
    for name, losses in {
        'alone': dice,
        'second': [CE, dice],
        'first': [dice, CE],
        'none': CE,
    }.items():
        cfg = segmentor()
        cfg['decode_head']['loss_decode'] = losses
        model = build(cfg, SCHEMES['cosub'][0])
        data = batch(model)
        for sample in data['data_samples']:
            sample.gt_sem_seg.data[:, :32] = 255
        terms[name] = model.loss(**data)['decode.loss_co_training'].item()
    assert terms['first'] == terms['second'] == terms['none']
    assert terms['alone'] == pytest.approx(2 * loss_weight * terms['none'])


@pytest.mark.parametrize('make', [segmentor, cascade])
def test_weights_of_1_change_no_bit(make):
    """Not so at commit 3b17022 for any other weight of the main head."""
    results = []
    for loss_weight in (1.0, 4.0):
        cfg = make()
        for head in heads_of(cfg):
            head['loss_decode'] = dict(CE, loss_weight=loss_weight)
        scheme = dict(SCHEMES['collaboration'][0], intermediate=0.5, auxiliary=True)
        model = build(cfg, scheme)
        losses = model.loss(**batch(model))
        results.append({k: v for k, v in losses.items() if 'loss' in k})
    plain, scaled = results
    assert 'loss_heads' in plain
    for key, value in plain.items():
        assert torch.equal(4 * value, scaled[key]), key  # 4 is a power of 2


OHEM = dict(type='OhemCrossEntropy', thres=0.9, min_kept=1)


@pytest.mark.parametrize('ignored', [0, 32])
@pytest.mark.parametrize('settings', [{}, dict(class_weight=WEIGHTS)], ids=str)
def test_hard_pixels(settings, ignored):
    """OhemCrossEntropy averages over what it chooses, here all that has a label."""
    init_default_scope('mmseg')
    loss = MODELS.build({**OHEM, **settings})
    labels = torch.arange(64).remainder(5).expand(2, 1, 64, 64).clone()
    labels[:, :, :ignored] = 255
    expected = (
        loss(torch.zeros(2, 5, 64, 64), labels.squeeze(1)) / torch.tensor(5).log()
    )
    fraction = (labels != 255).float().mean()
    got = torch.as_tensor(value_of_ones(loss, fraction, lambda: labels, 255, 5))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(
    ('head', 'losses', 'weight'),
    [('DDRHead', [1.0, 0.4], 1.0), ('PIDHead', [0.4, 1.0, 20.0, 3.0], 4.0)],
)
def test_losses_of_other_outputs_do_not_count(head, losses, weight):
    init_default_scope('mmseg')
    cfg = dict(type=head, in_channels=8, channels=8, num_classes=5)
    cfg['loss_decode'] = [dict(OHEM, loss_weight=w) for w in losses]
    assert Head('decode', MODELS.build(cfg), True, False).weight == weight
