"""Every scheme under the settings that a stock user turns on.

Settings that should change nothing are compared with the run without them, losses and
gradients; settings that change a loss, with the formula, written here from the logits.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from mmengine.runner import turn_on_activation_checkpointing
from stock_settings import (
    KINDS,
    SCHEMES,
    batch,
    build,
    cascade,
    classifier,
    segmentor,
    train,
)
from stock_settings import segmentor_of_convolutions as convolutions
from torch import nn

from mmcosub.engine.devices import CPUAmpOptimWrapper
from mmcosub.models.co_training import recompute_without_reentry
from mmcosub.models.segmentor_heads import labelled_fraction
from mmcosub.submodels import find_branches

JOINT = ('cosub', 'collaboration', 'stochastic_depth')


def known(scheme, kind):
    """Whether a scheme goes with a model; dropout behind projections is not in CNNs."""
    return not (scheme == 'augdrop' and kind == 'segmentor of convolutions')


PAIRS = [(s, k) for s in SCHEMES for k in KINDS if known(s, k)]


@pytest.fixture(scope='module')
def trained():
    """Logs and gradients of a pair without any further setting, once each."""
    done = {}

    def of(scheme, kind):
        if (scheme, kind) not in done:
            done[scheme, kind] = train(build(KINDS[kind](), SCHEMES[scheme]))
        return done[scheme, kind]

    return of


def assert_same(got, expected, tolerance=1e-8):
    """Logs and gradients of two runs."""
    for a, b in zip(got[0], expected[0], strict=True):
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(
                a[key], b[key], rtol=tolerance, atol=tolerance, msg=key
            )
    for a, b in zip(got[1], expected[1], strict=True):
        for key, grad in b.items():
            if grad is None:
                assert a[key] is None or not a[key].any(), key
                continue
            scale = grad.abs().max().clamp_min(1)
            torch.testing.assert_close(
                a[key] / scale, grad / scale, rtol=0, atol=tolerance, msg=key
            )


def assert_teaches(logs, grads, scheme):
    """Something is taught, and it reaches the backbone."""
    taught = [v for k, v in logs[-1].items() if k.endswith('loss_co_training')]
    assert taught
    if scheme != 'stochastic_depth':
        assert taught[-1] > 1e-6
    reached = [g for k, g in grads[-1].items() if k.startswith('backbone')]
    assert any(g is not None and g.any() for g in reached)


@pytest.mark.parametrize(('scheme', 'kind'), PAIRS)
def test_two_steps(scheme, kind, trained):
    logs, grads = trained(scheme, kind)
    assert_teaches(logs, grads, scheme)
    assert logs[0] != logs[1]
    missing = [k for k, g in grads[-1].items() if g is None]
    # The stock networks themselves leave these out.
    assert all(k.startswith(('backbone.ln1', 'backbone.norm')) for k in missing), (
        missing
    )


def with_cp(cfg):
    """Recomputes in every block, as the backbone's own setting does."""
    cfg['backbone']['with_cp'] = True
    return cfg


@pytest.mark.parametrize(('scheme', 'kind'), [p for p in PAIRS if p[1] != 'classifier'])
@pytest.mark.sweep(every=2)
def test_with_cp(scheme, kind, trained):
    assert_same(
        train(build(with_cp(KINDS[kind]()), SCHEMES[scheme])), trained(scheme, kind)
    )


CHECKPOINTED = {
    'segmentor': ['backbone.stages.1', 'backbone.stages.0.blocks.1'],
    'cascade': ['backbone.stages.0', 'backbone.stages.1'],
    'segmentor of convolutions': ['backbone.layer2', 'backbone.layer3.0'],
    'classifier': ['backbone.layers.1', 'backbone.layers.2'],
}


@pytest.mark.parametrize(('scheme', 'kind'), PAIRS)
@pytest.mark.sweep(every=3)
def test_activation_checkpointing(scheme, kind, trained):
    model = build(KINDS[kind](), SCHEMES[scheme])
    turn_on_activation_checkpointing(model, CHECKPOINTED[kind])
    assert_same(train(model), trained(scheme, kind))


HEADS = {
    'segmentor': ['decode_head', 'auxiliary_head'],
    'cascade': ['decode_head.0', 'decode_head.1'],
    'classifier': ['head'],
}


@pytest.mark.parametrize('scheme', ['cosub', 'augpath'])
@pytest.mark.parametrize('kind', HEADS)
def test_activation_checkpointing_of_heads(scheme, kind, trained):
    model = build(KINDS[kind](), SCHEMES[scheme])
    turn_on_activation_checkpointing(model, HEADS[kind])
    assert_same(train(model), trained(scheme, kind))


@pytest.mark.parametrize('scheme', [None, SCHEMES['cosub']])
def test_recomputed_parts_record_statistics_once(scheme):
    """Also parts that get a list, such as heads; as without recomputing."""
    plain, recomputed = (build(convolutions(), scheme) for _ in range(2))
    parts = ['backbone.layer2', 'decode_head', 'auxiliary_head']
    turn_on_activation_checkpointing(recomputed, parts)
    if scheme is None:  # else the first step does it
        recompute_without_reentry(recomputed)
    gradients = [train(model)[1] for model in (plain, recomputed)]
    for expected, found in zip(*gradients, strict=True):
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-12)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(recomputed.state_dict()[name], value)


@pytest.mark.parametrize(
    ('scheme', 'kind'), [p for p in PAIRS if p[0] not in JOINT and p[0] != 'augdrop']
)
def test_lean(scheme, kind, trained):
    cfg = {**SCHEMES[scheme], 'lean': True}
    assert_same(train(build(KINDS[kind](), cfg)), trained(scheme, kind))


@pytest.mark.parametrize('scheme', ['gkt', 'stimulative'])
def test_subnets_run_together_where_that_is_exact(scheme, trained):
    assert not build(segmentor(), SCHEMES[scheme]).scheme.joint  # BatchNorm in the head
    together = build(classifier(), SCHEMES[scheme])
    apart = build(classifier(), SCHEMES[scheme])
    assert together.scheme.joint
    apart.scheme.joint = False
    got, expected = train(together), train(apart)
    assert_same(got, expected)
    # Rows of the first blocks are computed once for all views.
    assert together.telemetry['branch_work'] < apart.telemetry['branch_work']


@pytest.mark.parametrize('scheme', SCHEMES)
def test_gradient_accumulation(scheme):
    # Twice the same batch and plan, accumulated, is the batch once.
    once = train(build(segmentor(), SCHEMES[scheme]), steps=1)
    model = build(segmentor(), SCHEMES[scheme])
    images = batch(model)

    def again(*args):
        model.plans_drawn = 0
        torch.manual_seed(1)

    begin = model._begin
    model._begin = lambda inputs: again() or begin(inputs)
    twice = train(model, steps=2, data=images, accumulative_counts=2)
    assert len(twice[1]) == 1
    assert_same((twice[0][:1], twice[1]), once)


@pytest.mark.parametrize(('scheme', 'kind'), PAIRS)
def test_mixed_precision(scheme, kind, trained):
    model = build(KINDS[kind](), SCHEMES[scheme]).float()
    images = batch(model)
    images['inputs'] = images['inputs'].float()
    logs, grads = train(model, steps=1, data=images, wrapper=CPUAmpOptimWrapper)
    assert_teaches(logs, grads, scheme)
    expected = trained(scheme, kind)[0][0]
    assert logs[0]['loss'].item() == pytest.approx(expected['loss'].item(), rel=0.05)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # of the compiler's own
@pytest.mark.parametrize('scheme', ['cosub', 'augmask', 'gkt'])
def test_compiled_steps(scheme, trained):
    # By hand, as MMEngine's cfg.compile does without a scheme, but without code
    # generation, which takes minutes: what is traced is the same.
    torch._dynamo.reset()
    model = build(segmentor(), SCHEMES[scheme])
    model.train_step = torch.compile(model.train_step, backend='eager')
    assert_same(train(model), trained(scheme, 'segmentor'))


def test_backward_is_outside_of_autocast():
    # As in the stock step, for a lean scheme, too.
    seen = []
    for lean in (False, True):
        model = build(segmentor(), {**SCHEMES['augpath'], 'lean': lean}).float()
        images = batch(model)
        images['inputs'] = images['inputs'].float()
        hook = model.decode_head.conv_seg.weight.register_hook
        hook(lambda grad: seen.append(torch.is_autocast_enabled('cpu')))
        train(model, steps=1, data=images, wrapper=CPUAmpOptimWrapper)
    assert seen
    assert not any(seen)


# ---- what is taught, by the formula -------------------------------------------------


def views_of(model, data):
    """The main head, its outputs, the logits of every view in them, and losses."""
    heads = model.decode_head
    heads = list(heads) if isinstance(heads, nn.ModuleList) else [heads]
    seen = []
    forward = heads[-1].forward
    heads[-1].forward = lambda *args: seen.append(forward(*args)) or seen[-1]
    losses = model.loss(**data)
    heads[-1].forward = forward
    logits = []
    for output, views in zip(seen, model.scheme.passes, strict=True):
        logits += output.chunk(len(views))
    return heads[-1], seen, logits, losses


def soft(kind, student, teacher):
    """Soft losses by their definition, at every position."""
    teacher = teacher.detach()
    if kind == 'bce':
        bce = F.binary_cross_entropy_with_logits
        return bce(student, teacher.sigmoid(), reduction='none').mean(dim=1)
    cross = -(teacher.softmax(1) * student.log_softmax(1)).sum(1)
    if kind == 'ce':
        return cross
    return cross + (teacher.softmax(1) * teacher.log_softmax(1)).sum(1)


def taught(scheme, kind, z, mean):
    """Co-training loss of a scheme, from the logits of its views."""

    def to(student, teacher):
        return mean(soft(kind, student, teacher))

    if scheme in ('cosub', 'collaboration'):
        weight = {'cosub': 0.6, 'collaboration': 0.8}[scheme]
        return weight / 2 * (to(z[0], z[1]) + to(z[1], z[0]))
    if scheme.startswith('aug'):
        return to(z[1], z[0]) / 2
    if scheme == 'stimulative':
        return 0.7 * to(z[1], z[0])
    later = 0.7 * z[1] + 0.3 * z[3]
    return 0.6 * (to(z[1], z[0]) + to(z[2], z[1]) + to(z[3], z[0]) + to(z[4], later))


def labelled(scheme, z, label_loss):
    """Label loss of a scheme, from the logits of its views."""
    if scheme in ('cosub', 'collaboration'):
        share = {'cosub': 0.2, 'collaboration': 0.5}[scheme]
        return share * (label_loss(z[0]) + label_loss(z[1]))
    return label_loss(z[0]) * (0.5 if scheme.startswith('aug') else 1.0)


def of_losses(*losses):
    """The decode head's losses."""

    def change(cfg):
        heads = cfg['decode_head']
        for head in heads if isinstance(heads, list) else [heads]:
            head['loss_decode'] = copy.deepcopy(list(losses) or losses[0])
        return cfg

    return change


def binary(**loss):
    """One output channel, the foreground's."""

    def change(cfg):
        cfg = of_losses(loss)(cfg)
        heads = cfg['decode_head']
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(num_classes=2, out_channels=1, threshold=0.4)
        return cfg

    return change


def with_head(**settings):
    """Settings of every decode head."""

    def change(cfg):
        heads = cfg['decode_head']
        for head in heads if isinstance(heads, list) else [heads]:
            head.update(copy.deepcopy(settings))
        return cfg

    return change


CE = dict(type='CrossEntropyLoss')
OHEM = dict(type='OHEMPixelSampler', thresh=0.7, min_kept=50)
WEIGHTS = [1.0, 2.0, 0.5, 1.0, 3.0]
DICE = dict(type='DiceLoss', loss_name='loss_dice')
# Setting: change of the config, soft loss that goes with it, whether the average is
# over all pixels, and not over those with a label.
LOSSES = {
    'stock': (of_losses(CE), 'softmax', True),
    'avg_non_ignore': (of_losses(dict(CE, avg_non_ignore=True)), 'softmax', False),
    'class weights': (of_losses(dict(CE, class_weight=WEIGHTS)), 'softmax', False),
    'ignore_index': (with_head(ignore_index=3), 'softmax', True),
    'OHEM': (with_head(sampler=OHEM), 'softmax', True),
    'sigmoid': (of_losses(dict(CE, use_sigmoid=True)), 'bce', True),
    # mmseg's FocalLoss does not run on a CPU.
    'Lovasz': (of_losses(dict(type='LovaszLoss', reduction='none')), 'softmax', False),
    'Tversky': (of_losses(dict(type='TverskyLoss')), 'softmax', False),
    'with Dice': (of_losses(CE, DICE), 'softmax', True),
    'binary': (binary(type='CrossEntropyLoss', use_sigmoid=True), 'bce', True),
}  # fmt: skip


@pytest.mark.filterwarnings('ignore:``build_pixel_sampler`` would be deprecated')
@pytest.mark.parametrize('setting', LOSSES)
@pytest.mark.parametrize('scheme', [s for s in SCHEMES if s != 'stochastic_depth'])
@pytest.mark.sweep(every=4)
def test_losses_are_the_formula(scheme, setting):
    change, kind, over_all = LOSSES[setting]
    softmax = 'kl' if scheme in ('stimulative', 'gkt') else 'ce'
    for make in (segmentor, cascade):
        model = build(change(make()), SCHEMES[scheme])
        classes = 2 if setting == 'binary' else 5
        data = batch(model, classes=classes)
        tolerance = 1e-7
        if setting == 'Lovasz':  # mmseg's takes float32 only
            model, tolerance = model.float(), 1e-3
            data['inputs'] = data['inputs'].float()
        if setting == 'ignore_index':
            for sample in data['data_samples']:
                labels = sample.gt_sem_seg.data
                labels[labels == 255] = 3
        head, outputs, z, losses = views_of(model, data)
        share = labelled_fraction(head, data['data_samples'], z[0])

        def mean(values, share=share):
            total = (values * share).sum()
            return total / (share.numel() if over_all else share.sum())

        expected = taught(scheme, softmax if kind == 'softmax' else kind, z, mean)
        name = 'decode' if make is segmentor else 'decode_1'
        got = losses[f'{name}.loss_co_training']
        assert got > 1e-6
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=1e-12)

        def label_loss(z, head=head, data=data):
            terms = head.loss_by_feat(z, data['data_samples'])
            return sum(v.mean() for k, v in terms.items() if 'loss' in k)

        label = labelled(scheme, z, label_loss)
        terms = {k: v for k, v in losses.items() if k.startswith(f'{name}.loss_')}
        del terms[f'{name}.loss_co_training']
        torch.testing.assert_close(sum(v.mean() for v in terms.values()), label)
        # Gradients by view: none into a teacher beyond what it learns itself.
        total = sum(v.mean() for v in terms.values()) + got
        ours = torch.autograd.grad(total, outputs, retain_graph=True)
        formula = torch.autograd.grad(label + expected, outputs)
        for a, b in zip(ours, formula, strict=True):
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance / 1e4)
        assert 0 <= model.telemetry['agreement'] <= 1


@pytest.mark.parametrize('scheme', [s for s in SCHEMES if s != 'stochastic_depth'])
@pytest.mark.parametrize('loss', ['ce', 'kl'])
def test_binary_with_a_softmax_is_refused(scheme, loss):
    cfg = binary(type='CrossEntropyLoss', use_sigmoid=True)(segmentor())
    with pytest.raises(
        ValueError, match=rf"scheme.loss='{loss}'.*out_channels=1.*'bce'"
    ):
        build(cfg, {**SCHEMES[scheme], 'loss': loss})


def test_agreement_of_a_binary_head():
    model = build(binary(type='CrossEntropyLoss', use_sigmoid=True)(segmentor()),
                  {**SCHEMES['cosub'], 'seed': 2})  # fmt: skip
    data = batch(model, classes=2)
    head, _, z, _ = views_of(model, data)
    share = labelled_fraction(head, data['data_samples'], z[0])
    edge = math.log(0.4 / 0.6)  # the head's threshold is 0.4
    same = ((z[0] > edge) == (z[1] > edge)).squeeze(1)
    agreement = (same * share).sum() / share.sum()
    assert 0 < agreement < 1
    torch.testing.assert_close(model.telemetry['agreement'].double(), agreement)


@pytest.mark.parametrize('ignored', [0, 32, 56])
def test_balance_does_not_depend_on_what_is_ignored(ignored):
    # Where every pixel has the same logits, both losses fall alike with its labels.
    model = build(segmentor(), SCHEMES['cosub'])
    data = batch(model)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data.fill_(1)
        sample.gt_sem_seg.data[:, :ignored] = 255
    _, _, z, losses = views_of(model, data)
    share = 1 - ignored / 64
    full = taught(
        'cosub', 'ce', z, lambda values: (values * mask(values, share)).mean()
    )
    torch.testing.assert_close(losses['decode.loss_co_training'], full)
    assert losses['decode.loss_ce'] > 0


def mask(values, share):
    """The lower rows of a head's pixels."""
    rows = torch.arange(values.shape[1]).double() + 0.5
    return (rows > (1 - share) * values.shape[1]).double()[None, :, None]


@pytest.mark.parametrize('scheme', SCHEMES)
@pytest.mark.parametrize('soft_labels', [False, True])
def test_classifier_losses(scheme, soft_labels):
    model = build(classifier(), SCHEMES[scheme])
    data = batch(model)
    if soft_labels:  # as mixup gives them
        scores = torch.rand(3, 5, dtype=torch.float64).softmax(1)
        data['data_samples'] = [
            s.set_gt_score(t) for s, t in zip(data['data_samples'], scores, strict=True)
        ]
    seen = []
    model.head.register_forward_hook(lambda *args: seen.append(args[-1]))
    losses = model.loss(**data)
    z = [
        v
        for o, p in zip(seen, model.scheme.passes, strict=True)
        for v in o.chunk(len(p))
    ]
    target = scores if soft_labels else torch.arange(3)
    if scheme == 'stochastic_depth':
        assert len(z) == 1
        torch.testing.assert_close(losses['loss'], F.cross_entropy(z[0], target))
        return
    kind = 'kl' if scheme in ('stimulative', 'gkt') else 'ce'
    expected = taught(scheme, kind, z, torch.mean)
    assert expected > 1e-6
    torch.testing.assert_close(losses['loss_co_training'], expected)
    label = labelled(scheme, z, lambda z: F.cross_entropy(z, target))
    torch.testing.assert_close(losses['loss'], label)


# ---- frozen, small, refused ---------------------------------------------------------


@pytest.mark.parametrize('scheme', [s for s in SCHEMES if s != 'stochastic_depth'])
@pytest.mark.parametrize(('make', 'last'), [(segmentor, 1), (convolutions, 4)])
def test_frozen_stages(scheme, make, last):
    if not known(
        scheme, {segmentor: 'segmentor'}.get(make, 'segmentor of convolutions')
    ):
        return
    cfg = make()
    cfg['backbone']['frozen_stages'] = last
    with pytest.raises(ValueError, match=r'Every block .*frozen.*frozen_stages'):
        build(cfg, SCHEMES[scheme])
    cfg['backbone']['frozen_stages'] = last - 1  # the last one learns
    logs, grads = train(build(cfg, SCHEMES[scheme]), steps=1)
    assert_teaches(logs, grads, scheme)


def test_frozen_by_a_hook_is_seen_at_the_first_step():
    model = build(segmentor(), SCHEMES['cosub'])
    for site in find_branches(model.backbone):
        site.block.eval()
    with pytest.raises(ValueError, match=r'Every block .*frozen'):
        model.loss(**batch(model))


@pytest.mark.parametrize('execution', ['kept_rows', 'shared_prefix'])
def test_an_inexact_execution_is_said(execution, caplog):
    model = build(convolutions(), {**SCHEMES['cosub'], 'execution': execution})
    for _ in range(2):
        model.loss(**batch(model))
    assert len(caplog.messages) == 1
    assert f"execution='{execution}'" in caplog.messages[0]
    assert 'BatchNorm' in caplog.messages[0]
    model = build(segmentor(), {**SCHEMES['cosub'], 'execution': execution})
    model.loss(**batch(model))
    assert len(caplog.messages) == 1


@pytest.mark.parametrize('scheme', ['collaboration', 'augmask'])
def test_copies_and_strict_loading(scheme):
    settings = {**SCHEMES[scheme]}
    if scheme == 'collaboration':
        settings['intermediate'] = 0.5
    make = classifier if scheme == 'collaboration' else segmentor
    model = build(make(), settings)
    train(model, steps=1)
    twin = copy.deepcopy(model)  # as EMA does: no graph is kept
    assert model.extras.own_state()
    twin.load_state_dict(model.state_dict(), strict=True)
    for name, value in twin.extras.own_state().items():
        assert torch.equal(value, model.extras.own_state()[name])
    other = build(make(), settings)
    other.extras.load_own_state(model.extras.own_state())
    for a, b in zip(other.extras.parameters(), model.extras.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match='another scheme or model'):
        other.extras.load_own_state({})


def test_a_traced_backbone_is_refused():
    # MMEngine's efficient_conv_bn_eval runs a copy of the backbone, block by no block.
    model = build(convolutions(), SCHEMES['cosub'])
    turn_on_efficient_conv_bn_eval(model, 'backbone')
    with pytest.raises(ValueError, match=r'do not run.*efficient_conv_bn_eval'):
        model.loss(**batch(model))


def test_dropout_of_mmsegs_vit():
    # Half of the outputs, and not half of what is left of another half.
    from tiny import segmentor_config

    model = build(segmentor_config('mmseg ViT'), dict(type='AugDrop', ratio=0.5))
    attention = model.backbone.layers[0].attn
    zeros = []
    attention.register_forward_hook(
        lambda m, args, output: zeros.append((output == 0).double().mean().item())
    )
    model.loss(**batch(model, images=16))
    assert len(zeros) == 2
    assert zeros[0] == 0  # the main network
    assert zeros[1] == pytest.approx(0.5, abs=0.05)


def test_a_vit_without_class_token_masks_its_first_patch():
    from tiny import segmentor_config

    cfg = segmentor_config('mmseg ViT')
    cfg['backbone']['with_cls_token'] = False
    model = build(cfg, SCHEMES['augmask'])
    seen = []
    first = model.sites[0].block
    first.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    images = batch(model)['inputs']
    with torch.no_grad():
        model.backbone(images)
        for step in range(40):
            _, disturbed = model.scheme.disturb(
                model, 1, images, torch_free_generator(step)
            )
            with disturbed():
                model.backbone(images)
    full, *masked = (tokens[:, 0] for tokens in seen)
    assert len(masked) == 40
    assert not all(torch.equal(tokens, full) for tokens in masked)


def torch_free_generator(seed):
    """NumPy's, as schemes take it."""
    import numpy as np

    return np.random.default_rng(seed)
