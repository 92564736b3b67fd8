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
    ours = sum(scheme.student_loss(v, [z1, z2]) for v in range(2)) + sum(
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


def total(logits, weight):
    return sum(Cosub().student_loss(v, [*logits], weight) for v in range(2))


def test_ignored_pixels_do_not_teach():
    z = torch.randn(2, 1, 3, 2, 2)
    weight = torch.tensor([[[1.0, 0.0], [0.5, 0.0]]])
    loss = total(z, weight)
    z[..., 1] += 9  # the ignored column
    assert torch.equal(total(z, weight), loss)
    z[..., 0] *= 2
    assert not torch.equal(total(z, weight), loss)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(weight=1.0), r'weight must be in \[0, 1\), not 1.0'),
        (dict(weight=float('nan')), r'weight must be in \[0, 1\), not nan'),
        (dict(loss='mse'), r"'ce', 'bce'.*'mse'"),
        (dict(temperature=0), 'above 0'),
        (dict(execution='slow'), r"'auto', 'plain'.*'slow'"),
        (dict(drop_path_rate=1.0), r'\[0, 1\)'),
        (dict(drop_path_rate=0.1, drop_path_decay='sqrt'), "'sqrt'"),
        (dict(drop_path_decay='sqrt'), "'sqrt'"),
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


@pytest.mark.parametrize('sampler', ['BernoulliSampler', 'StratifiedSampler'])
def test_views_are_drawn_one_after_the_other_from_one_generator(sampler):
    sites = find_branches(backbone('mmpretrain ViT'))
    scheme = Cosub(drop_path_rate=0.4, sampler=dict(type=sampler))
    drawn = scheme.draw(sites, 5, plan_generator(7, 3)).multipliers
    rng = plan_generator(7, 3)
    keep = [scheme.sampler(scheme.rates(sites), 5, rng) for _ in range(2)]
    assert (drawn == np.stack(keep, axis=1) / (1 - 0.4)).all()
