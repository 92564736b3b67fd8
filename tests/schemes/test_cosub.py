import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import BACKBONES, backbone

from mmcosub.registry import SCHEMES
from mmcosub.schemes import Cosub
from mmcosub.submodels import (
    find_branches,
    plan_generator,
    plan_rows,
    run_submodels,
)


def test_published_loss():
    # The authors' code: four binary cross-entropies of weight 1/4.
    torch.manual_seed(0)
    z1, z2 = torch.randn(2, 4, 10, dtype=torch.float64).requires_grad_()
    z1.retain_grad(), z2.retain_grad()
    y = torch.rand(4, 10, dtype=torch.float64)
    bce = F.binary_cross_entropy_with_logits
    published = 0.25 * (
        bce(z1, y)
        + bce(z2, y)
        + bce(z1, z2.detach().sigmoid())
        + bce(z2, z1.detach().sigmoid())
    )
    scheme = Cosub(loss='bce')
    ours = scheme.co_training_loss([z1, z2]) + sum(
        w * bce(z, y) for w, z in zip(scheme.label_weights, (z1, z2), strict=True)
    )
    torch.testing.assert_close(ours, published, rtol=1e-12, atol=0)
    for z in (z1, z2):
        (expected,) = torch.autograd.grad(published, z, retain_graph=True)
        (got,) = torch.autograd.grad(ours, z, retain_graph=True)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(('weight', 'ramp'), [(0.5, 1.0), (0.3, 0.5), (0.0, 1.0)])
def test_weights_sum_to_one(weight, ramp):
    scheme = Cosub(weight=weight)
    scheme.ramp = ramp
    assert scheme.label_weights == pytest.approx([(1 - weight * ramp) / 2] * 2)
    assert [t.weight for t in scheme.teachings] == pytest.approx(
        [weight * ramp / 2] * 2
    )
    assert {(t.teacher, t.student) for t in scheme.teachings} == {(0, 1), (1, 0)}


def test_ignored_pixels_do_not_teach():
    z = torch.randn(2, 1, 3, 2, 2)
    weight = torch.tensor([[[1.0, 0.0], [0.5, 0.0]]])
    loss = Cosub().co_training_loss(list(z), weight)
    z[..., 1] += 9  # the ignored column
    assert torch.equal(Cosub().co_training_loss(list(z), weight), loss)
    z[..., 0] *= 2
    assert not torch.equal(Cosub().co_training_loss(list(z), weight), loss)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(weight=1.0), r'weight must be in \[0, 1\), not 1.0: .*from the labels'),
        (dict(weight=float('nan')), r'weight must be in \[0, 1\), not nan'),
        (dict(coupled=1.0), r'coupled must be in \[0, 1\), not 1.0: .*the same'),
        (dict(coupled=-0.1), r'coupled must be in \[0, 1\), not -0.1'),
        (dict(coupled=float('nan')), r'coupled must be in \[0, 1\), not nan'),
        (dict(loss='mse'), r"'mse'.*'ce', 'bce'"),
        (dict(temperature=0), 'above 0'),
        (dict(execution='slow'), "'slow'.*'auto', 'plain'"),
        (dict(drop_path_rate=1.0), r'\[0, 1\)'),
        (dict(drop_path_rate=0.1, drop_path_decay='sqrt'), "'sqrt'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Cosub(**kwargs)


def test_every_rate_zero_is_refused():
    sites = find_branches(backbone('mmpretrain ViT', drop_path_rate=0.0))
    with pytest.raises(
        ValueError, match=r'Every drop-path rate is 0.*drop_path_rate=0.1'
    ):
        Cosub().check(sites)
    Cosub(drop_path_rate=0.1).check(sites)
    Cosub(weight=0.0).check(sites)  # asks for nothing, and gets it


def test_rates_of_the_scheme_replace_the_backbones():
    sites = find_branches(backbone('mmseg ViT'))
    linear = Cosub(drop_path_rate=0.3, drop_path_decay='linear').rates(sites)
    np.testing.assert_allclose(linear, [0, 0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3])
    assert (Cosub(drop_path_rate=0.3).rates(sites) == 0.3).all()


def test_frozen_blocks_are_not_dropped():
    model = backbone('mmpretrain Swin', frozen_stages=0)
    rates = Cosub(drop_path_rate=0.3).rates(find_branches(model))
    np.testing.assert_allclose(rates, [0] * 4 + [0.3] * 4)


def test_a_sampler_may_be_named():
    named = Cosub(sampler='StratifiedSampler').sampler
    assert type(named).__name__ == 'StratifiedSampler'
    assert type(Cosub().sampler).__name__ == 'BernoulliSampler'


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
def test_views_are_drawn_independently_from_the_rates(name, sampler):
    sites = find_branches(backbone(name))
    scheme = SCHEMES.build(dict(type='Cosub', sampler=dict(type=sampler)))
    rng = plan_generator(0, 0)
    plans = [scheme.draw(sites, 2, rng).multipliers for _ in range(4000)]
    kept = np.stack(plans) > 0
    rates = scheme.rates(sites)
    error = np.sqrt(rates * (1 - rates) / len(plans))
    assert (5 * error >= np.abs(kept.mean(0) - (1 - rates)[:, None, None]).T).all()
    both = kept[:, :, 0] & kept[:, :, 1]  # of one sample
    assert np.abs(both.mean(0) - (1 - rates)[:, None] ** 2).max() < 5 / 2 / 4000**0.5


def coupled_plans(name, coupled, sampler='BernoulliSampler', draws=4000, batch=2):
    """Rates, number of coupled branches, and the factors of many draws."""
    sites = find_branches(backbone(name))
    cfg = dict(type='Cosub', sampler=dict(type=sampler), coupled=coupled)
    scheme = SCHEMES.build(dict(cfg, drop_path_rate=0.4, drop_path_decay='linear'))
    rng = plan_generator(0, 0)
    plans = [scheme.draw(sites, batch, rng).multipliers for _ in range(draws)]
    return scheme.rates(sites), round(coupled * len(sites)), np.stack(plans)


@pytest.mark.parametrize('name', ['mmpretrain ViT', 'mmpretrain Swin'])
@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
def test_coupled_views_alone_are_drop_paths(name, sampler):
    rates, _, plans = coupled_plans(name, 0.5, sampler)
    kept = plans > 0  # (draws, L, V, B)
    # Kept branches are scaled by 1 / (1 - rate), dropped ones by 0.
    scales = kept / (1 - rates)[:, None, None]
    np.testing.assert_array_equal(plans, scales)
    error = np.sqrt(rates * (1 - rates) / len(plans))
    assert (5 * error >= np.abs(kept.mean(0) - (1 - rates)[:, None, None]).T).all()
    # In each view branches are independent of one another, across the border, too.
    second = kept[:, :, 1, 0]
    both = (second[:, :, None] & second[:, None]).mean(0)
    product = np.outer(1 - rates, 1 - rates)
    others = ~np.eye(len(rates), dtype=bool)
    assert np.abs(both - product)[others].max() < 5 / 2 / len(plans) ** 0.5


@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
@pytest.mark.parametrize('share', [0.25, 0.5, 0.75])
def test_coupled_views_are_equal_and_then_independent(sampler, share):
    rates, coupled, plans = coupled_plans('mmpretrain ViT', share, sampler)
    kept = plans > 0
    assert 0 < coupled < len(rates)
    assert (kept[:, :coupled, 0] == kept[:, :coupled, 1]).all()
    both = (kept[:, :, 0] & kept[:, :, 1]).mean(0)[coupled:]
    square = (1 - rates[coupled:, None]) ** 2
    assert np.abs(both - square).max() < 5 / 2 / len(plans) ** 0.5


@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
def test_coupling_changes_nothing_but_the_second_views_coupled_branches(sampler):
    sites = find_branches(backbone('mmpretrain ViT'))

    def draw(**kwargs):
        scheme = Cosub(drop_path_rate=0.4, sampler=dict(type=sampler), **kwargs)
        return scheme, scheme.draw(sites, 5, plan_generator(7, 3)).multipliers

    scheme, independent = draw()
    # Bit for bit what cosub has always drawn: view after view from one generator.
    rng = plan_generator(7, 3)
    keep = [scheme.sampler(scheme.rates(sites), 5, rng) for _ in range(2)]
    assert (independent == np.stack(keep, axis=1) / (1 - 0.4)).all()
    assert np.array_equal(draw(coupled=0.0)[1], independent)
    _, coupled = draw(coupled=0.5)
    half = len(sites) // 2
    assert np.array_equal(coupled[:, 0], independent[:, 0])
    assert np.array_equal(coupled[half:, 1], independent[half:, 1])
    assert np.array_equal(coupled[:half, 1], independent[:half, 0])


@pytest.mark.parametrize('execution', ['kept_rows', 'shared_prefix'])
@pytest.mark.parametrize('name', ['mmpretrain ViT', 'mmpretrain Swin', 'mmseg Swin'])
@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
def test_coupled_views_run_fast_as_plain(execution, name, sampler):
    model = backbone(name).double()
    sites = find_branches(model)
    scheme = Cosub(drop_path_rate=0.4, sampler=dict(type=sampler), coupled=0.5)
    plan = scheme.draw(sites, 3, plan_generator(1, 0))
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)

    def run(execution):
        model.zero_grad()
        outputs, _ = run_submodels(model, images, plan, sites, execution)
        weights = [torch.linspace(-1, 2, o.numel()).view_as(o) for o in outputs]
        sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
        return [*outputs, *(p.grad for p in model.parameters() if p.grad is not None)]

    for fast, plain in zip(run(execution), run('plain'), strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize('rate', [0.1, 0.3, 0.5])
def test_coupling_saves_the_work_that_it_should(rate):
    sites = find_branches(backbone('mmpretrain ViT'))
    branches, images, works = len(sites), 20000, []
    for coupled in (0.0, 0.25, 0.5, 0.75):
        scheme = Cosub(drop_path_rate=rate, coupled=coupled)
        works.append(
            plan_rows(scheme.draw(sites, images, plan_generator(0, 0)), True).work
        )
        # Coupled branches run once; behind them, views that are still one are kept by
        # one or both with probability 1 - rate**2, and stay one if they are equal.
        first = round(coupled * branches)
        still = (1 - 2 * rate * (1 - rate)) ** np.arange(branches - first)
        free = still * (1 - rate**2) + (1 - still) * 2 * (1 - rate)
        expected = (first * (1 - rate) + free.sum()) / (2 * branches)
        assert works[-1] == pytest.approx(expected, abs=5 / images**0.5)
    assert works == sorted(works, reverse=True)
    assert works[-1] < 0.8 * works[0]


def test_coupling_that_leaves_nothing_to_differ_is_refused():
    model = backbone('mmpretrain ViT')
    sites = find_branches(model)  # 8 branches
    with pytest.raises(
        ValueError, match=r'same in the first 8 of 8 branches.*coupled to 0.87 or less'
    ):
        Cosub(drop_path_rate=0.1, coupled=0.99).check(sites)
    Cosub(drop_path_rate=0.1, coupled=0.87).check(sites)
    Cosub(drop_path_rate=0.1, coupled=0.99, weight=0.0).check(sites)
    # A frozen end, with rates in front of it alone.
    for block in model.layers[2:]:
        block.eval()
    with pytest.raises(ValueError, match=r'first 4 of 8 .*coupled to 0.37 or less'):
        Cosub(drop_path_rate=0.1, coupled=0.5).check(sites)
    Cosub(drop_path_rate=0.1, coupled=0.37).check(sites)
