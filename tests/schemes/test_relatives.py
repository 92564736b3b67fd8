"""The losses of cosub's relatives, against classes written from the formulas."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import BACKBONES, backbone, labelled_images, segmentor_config
from torch import nn

from mmcosub.config.co_train import co_trained_model
from mmcosub.models.segmentor_heads import labelled_fraction
from mmcosub.schemes import AugPath, GroupKnowledge, Stimulative
from mmcosub.schemes.collaboration import KernelRedundancy
from mmcosub.submodels import find_branches, plan_generator
from mmcosub.submodels.sampling import (
    draw_depths,
    draw_nested,
    keep_first_blocks,
    stage_depths,
)

SCHEMES = {
    'AugPath': dict(type='AugPath'),
    'AugDrop': dict(type='AugDrop'),
    'AugMask': dict(type='AugMask'),
    'Stimulative': dict(type='Stimulative', weight=0.7),
    'GroupKnowledge': dict(
        type='GroupKnowledge', groups=2, loops=2, weight=0.6, momentum=0.3
    ),
    'StochasticDepth': dict(type='StochasticDepth'),
}


def build(scheme, name='mmpretrain Swin', double=True):
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = co_trained_model(copy.deepcopy(segmentor_config(name)), dict(scheme))
    model = MODELS.build(cfg)
    for key, parameter in model.named_parameters():
        nn.init.normal_(parameter, std=0.2 if 'extras' not in key else 1.0)
    model.train()
    return model.double() if double else model


def run(model, batch=3):
    """Loss of an iteration, and the main head's logits and label losses by view."""
    seen = record(model.decode_head)
    images, samples = labelled_images(batch=batch, size=(64, 32))
    losses = model.loss(images.double(), samples)
    passes = model.scheme.passes
    logits = []
    for out, views in zip(seen, passes, strict=True):
        logits += [out] if len(views) == 1 else out.chunk(len(views))
    total, _ = model.parse_losses(losses)
    return total, logits, samples, losses


def record(head):
    """What a head puts out from now on (its ``forward`` is called, without hooks)."""
    seen, forward = [], head.forward
    head.forward = lambda *args: seen.append(forward(*args)) or seen[-1]
    return seen


def label_loss(model, logits, samples):
    target = torch.cat([s.gt_sem_seg.data for s in samples])
    up = F.interpolate(logits, target.shape[-2:], mode='bilinear')
    return F.cross_entropy(up, target, ignore_index=255, reduction='none').mean()


def pixel_mean(model, values, samples, logits):
    # Over all pixels, as mmseg's cross-entropy averages by default.
    share = labelled_fraction(model.decode_head, samples, logits)
    return (values * share).mean()


def kl(teacher, student):
    teacher = teacher.detach()
    return (teacher.softmax(1) * (teacher.log_softmax(1) - student.log_softmax(1))).sum(
        1
    )


def soft_ce(teacher, student):
    return -(teacher.detach().softmax(1) * student.log_softmax(1)).sum(1)


def augsub(model, z, samples):
    soft = pixel_mean(model, soft_ce(z[0], z[1]), samples, z[0])
    return label_loss(model, z[0], samples) / 2, soft / 2


def stimulative(model, z, samples):
    soft = pixel_mean(model, kl(z[0], z[1]), samples, z[0])
    return label_loss(model, z[0], samples), 0.7 * soft


def group_knowledge(model, z, samples):
    # Two loops of two groups: views 1, 2 and 3, 4.
    first = z[1].detach()
    later = 0.7 * first + 0.3 * z[3].detach()
    pairs = [(z[0], z[1]), (first, z[2]), (z[0], z[3]), (later, z[4])]
    soft = sum(pixel_mean(model, kl(t, s), samples, s) for t, s in pairs)
    return label_loss(model, z[0], samples), 0.6 * soft


REFERENCES = {
    'AugPath': augsub,
    'AugDrop': augsub,
    'AugMask': augsub,
    'Stimulative': stimulative,
    'GroupKnowledge': group_knowledge,
}


@pytest.mark.parametrize('backbone', ['mmpretrain Swin', 'mmpretrain ViT', 'mmseg ViT'])
@pytest.mark.parametrize('name', REFERENCES)
def test_reference(name, backbone):
    model = build(SCHEMES[name], backbone)
    total, logits, samples, losses = run(model)
    label, soft = REFERENCES[name](model, logits, samples)
    got = losses['decode.loss_co_training']
    torch.testing.assert_close(got, soft, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(losses['decode.loss_ce'], label, rtol=1e-9, atol=1e-9)
    # Gradients by view: none into a teacher beyond what it learns itself.
    ours = losses['decode.loss_ce'] + got
    for z, a, b in zip(
        logits,
        torch.autograd.grad(ours, logits, retain_graph=True),
        torch.autograd.grad(label + soft, logits, retain_graph=True),
        strict=True,
    ):
        assert a.shape == z.shape
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    total.backward()
    assert all(p.grad is not None for p in model.parameters())


class Recorder(torch.optim.SGD):
    """Keeps the gradients of every step."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seen = []

    def step(self):
        self.seen.append([p.grad.clone() for p in self.param_groups[0]['params']])
        super().step()


@pytest.mark.parametrize(
    'name', ['AugPath', 'AugMask', 'Stimulative', 'GroupKnowledge']
)
@pytest.mark.parametrize('backbone', ['mmpretrain Swin', 'mmpretrain ViT'])
def test_lean_gradients_are_those_of_all_at_once(name, backbone):
    from mmengine.optim import OptimWrapper

    images, samples = labelled_images(batch=3, size=(64, 32))
    data = dict(inputs=images.double(), data_samples=samples)
    grads = {}
    for lean in (False, True):
        model = build({**SCHEMES[name], 'lean': lean, 'seed': 3}, backbone)
        model.data_preprocessor.forward = lambda data, training: data
        optimizer = Recorder(model.parameters(), lr=0.0)
        # Accumulated over two iterations: a step with sequential backward counts once.
        wrapper = OptimWrapper(optimizer, accumulative_counts=2)
        wrapper.initialize_count_status(model, 0, 4)
        logs = [model.train_step(data, wrapper) for _ in range(4)]
        assert len(optimizer.seen) == 2
        assert wrapper._inner_count == 4
        grads[lean] = optimizer.seen, logs
    for a, b in zip(grads[True][0], grads[False][0], strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-10)
    for a, b in zip(grads[True][1], grads[False][1], strict=True):
        assert a.keys() == b.keys()
        for key in a:
            torch.testing.assert_close(a[key], b[key], msg=key)


def test_lean_with_views_that_run_together():
    with pytest.raises(ValueError, match=r'views of Cosub run together, so lean=True'):
        build(dict(type='Cosub', lean=True))


def test_augpath_rates():
    model = backbone('mmpretrain Swin')
    sites = find_branches(model)
    scheme = AugPath(ratio=0.6)
    assert scheme.rates(sites, 0) == pytest.approx([site.rate for site in sites])
    assert scheme.rates(sites, 1) == pytest.approx([0.6] * len(sites))


def test_stochastic_depth_is_ordinary_training():
    model = build(SCHEMES['StochasticDepth'])
    _, logits, samples, losses = run(model)
    assert len(logits) == 1
    assert losses['decode.loss_co_training'] == 0
    expected = label_loss(model, logits[0], samples)
    torch.testing.assert_close(losses['decode.loss_ce'], expected)
    assert model.telemetry['branch_work'] < 1


# ---- subnets of the first blocks -------------------------------------------------


@pytest.mark.parametrize('name', BACKBONES)
def test_first_blocks(name):
    sites = find_branches(backbone(name))
    full = stage_depths(sites)
    assert list(full) in ([2, 2], [4])
    keep = keep_first_blocks(sites, np.ones_like(full))
    kept = [site.name for site, k in zip(sites, keep, strict=True) if k]
    assert [n.rpartition('.')[2] for n in dict.fromkeys(kept)] == ['0'] * len(full)
    assert keep_first_blocks(sites, full).all()


def test_nested_subnets():
    rng = np.random.default_rng(0)
    full = np.array([2, 2, 6, 1])
    sizes = []
    for _ in range(2000):
        outer = full
        for _ in range(4):
            inner = draw_nested(outer, 0.5, rng)
            assert (inner <= outer).all()
            assert (inner >= 1).all()
            if (outer > 1).any():
                assert inner.sum() < outer.sum()
            outer = inner
        sizes.append(int(draw_nested(full, 0.5, rng).sum()))
    counts = np.bincount(sizes, minlength=11)[4:11]
    assert counts[6] > counts[5] > counts[4] > counts[2]  # larger ones more often


def test_stimulative_depths_are_uniform():
    rng = np.random.default_rng(0)
    depths = np.array([draw_depths(np.array([2, 5]), rng) for _ in range(4000)])
    for column, count in zip(depths.T, (2, 5), strict=True):
        shares = np.bincount(column, minlength=count + 1)[1:] / len(column)
        assert shares == pytest.approx([1 / count] * count, abs=0.03)


def test_views_are_first_blocks_for_the_whole_batch():
    model = backbone('mmpretrain Swin', drop_path_rate=0.0)
    sites = find_branches(model)
    scheme = GroupKnowledge(groups=2, loops=1)
    plan = scheme.draw(sites, 4, plan_generator(0, 0))
    kept = plan.multipliers
    assert set(np.unique(kept)) == {0, 1}  # not rescaled
    assert (kept == kept[:, :, :1]).all()
    assert (kept[:, 0] == 1).all()
    assert (kept[:, 2] <= kept[:, 1]).all()


# ---- collaboration ----------------------------------------------------------------


@pytest.mark.parametrize('scheme', [Stimulative, GroupKnowledge])
def test_subnets_are_inside_the_network_as_it_is_drawn(scheme):
    scheme, sites = scheme(), find_branches(backbone('mmpretrain ViT'))
    kept = np.zeros(len(sites))
    for step in range(300):
        factors = scheme.draw(sites, 4, plan_generator(0, step)).multipliers
        full, subnets = factors[:, :1], factors[:, 1:]
        assert ((subnets == full) | (subnets == 0)).all()
        kept += (full > 0).mean(axis=(1, 2)) / 300
    # Of each branch, as ordinary drop path has it; within five standard errors.
    rates = np.array([site.rate for site in sites])
    error = 5 * np.sqrt(rates * (1 - rates) / 1200)
    assert (abs(kept - (1 - rates)) <= error + 1e-9).all()
    assert rates.max() > 0.3


def test_intermediate_consistency():
    scheme = dict(type='Collaboration', output=0.0, intermediate=0.8)
    model = build(scheme)
    seen = [record(head) for head in (model.decode_head, model.auxiliary_head)]
    images, samples = labelled_images(batch=2)
    losses = model.loss(images.double(), samples)
    (z,), (a,) = seen

    def taught(student, teacher):
        teacher = F.interpolate(teacher.detach(), student.shape[2:], mode='bilinear')
        value = -((teacher / 2).softmax(1) * (student / 2).log_softmax(1)).sum(1) * 4
        return pixel_mean(model, value, samples, student)

    expected = 0.8 * (taught(z, a) + taught(a, z)) / 2
    torch.testing.assert_close(losses['loss_heads'], expected, rtol=1e-9, atol=1e-9)
    got = torch.autograd.grad(losses['loss_heads'], (z, a), retain_graph=True)
    want = torch.autograd.grad(expected, (z, a))
    for x, y in zip(got, want, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-12)


def test_redundancies():
    scheme = dict(
        type='Collaboration', output=0.0, representation=0.5, kernel=0.25
    )  # fmt: skip
    model = build(scheme)
    features = record(model.backbone)
    _, _, _, losses = run(model)

    def channels(x):
        flat = x.transpose(0, 1).flatten(1).detach().numpy()
        return off_diagonal(np.corrcoef(flat))

    def off_diagonal(matrix):
        n = len(matrix)
        return (matrix[~np.eye(n, dtype=bool)] ** 2).mean()

    expected = 0.5 * np.mean([channels(x) for x in features[-1]])
    assert losses['loss_representation'].item() == pytest.approx(expected)
    kernels = []
    for module in model.backbone.modules():
        if isinstance(module, nn.Conv2d):
            w = module.weight.detach().flatten(1).numpy()
            w = w / np.linalg.norm(w, axis=1, keepdims=True)
            kernels.append(off_diagonal(w @ w.T))
    assert kernels
    assert losses['loss_kernel'].item() == pytest.approx(0.25 * np.mean(kernels))


def test_output_consistency_is_cosubs():
    model = build(dict(type='Collaboration', output=0.4))
    _, z, samples, losses = run(model)
    soft = sum(
        pixel_mean(model, soft_ce(z[1 - i], z[i]), samples, z[i]) for i in range(2)
    )
    got = losses['decode.loss_co_training']
    torch.testing.assert_close(got, 0.2 * soft, rtol=1e-9, atol=1e-9)


# ---- what bad input gets -----------------------------------------------------------


@pytest.mark.parametrize(
    ('scheme', 'message'),
    [
        (dict(type='AugPath', ratio=1.0), r'scheme.ratio must be in \(0, 1\), not 1'),
        (dict(type='GroupKnowledge', groups=3), r'groups=3 .* the backbone has 2'),
        (dict(type='GroupKnowledge', groups=0), r'groups must be 1 or more, not 0'),
        (dict(type='GroupKnowledge', decay=0), r'decay must be in \(0, 1\], not 0'),
        (dict(type='Stimulative', weight=-1), r'weight must be 0 or more, not -1'),
        (dict(type='Collaboration', output=0), r'one of them above 0'),
        (dict(type='Collaboration', kernel=-1), r'must be 0 or more'),
    ],
)
def test_bad_settings(scheme, message):
    with pytest.raises(ValueError, match=message):
        build(scheme)


def test_no_auxiliary_head():
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope('mmseg')
    cfg = {**segmentor_config(), 'auxiliary_head': None}
    scheme = dict(type='Collaboration', intermediate=1.0)
    with pytest.raises(ValueError, match=r'needs an auxiliary head.*auxiliary_head'):
        MODELS.build(co_trained_model(cfg, scheme))


def test_no_convolution():
    class Model:
        backbone = nn.Linear(2, 2)

    with pytest.raises(ValueError, match=r'Linear has no convolution .*kernel=0'):
        KernelRedundancy(1.0).prepare(Model())


def test_one_block_a_stage():
    model = backbone('mmpretrain Swin', arch=dict(
        embed_dims=8, depths=[1, 1], num_heads=[2, 4]))  # fmt: skip
    with pytest.raises(ValueError, match=r'one block, so Stimulative has no subnet'):
        Stimulative().check(find_branches(model))


def test_heads_teach_by_the_soft_loss_of_the_label():
    # A binary label loss: earlier heads are taught by sigmoids, too.
    from mmpretrain.structures import DataSample
    from stock_settings import build as build_model
    from stock_settings import classifier

    cfg = classifier()
    cfg['head']['loss'] = dict(type='mmcosub.BinaryCrossEntropyLoss')
    model = build_model(cfg, dict(type='Collaboration', output=0.0, intermediate=0.8))
    seen = {}
    for i, light in enumerate(model.extras['stage_classifiers']):
        light.register_forward_hook(lambda m, a, z, i=i: seen.update({i + 1: z}))
    model.head.register_forward_hook(lambda m, a, z: seen.update({0: z}))
    images, _ = labelled_images(batch=3)
    samples = [DataSample().set_gt_label(i) for i in range(3)]
    losses = model.loss(images.double(), samples)
    z = [seen[i] for i in range(len(seen))]
    assert len(z) == 3
    terms = []
    for i, student in enumerate(z):
        others = torch.stack([t.detach() for k, t in enumerate(z) if k != i])
        target = (others.mean(0) / 2).sigmoid()
        loss = F.binary_cross_entropy_with_logits(student / 2, target)
        terms.append(4 * loss)  # T * T
    expected = 0.8 * 0.5 * torch.stack(terms).mean()
    torch.testing.assert_close(losses['loss_heads'], expected)
