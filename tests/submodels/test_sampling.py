import itertools

import numpy as np
import pytest
import torch
from torch import nn

from mmcosub.submodels import (
    BernoulliSampler,
    Branch,
    Plan,
    StratifiedSampler,
    find_branches,
    plan_generator,
    plan_rows,
    register_block,
    run_submodels,
    spread_rates,
)

SAMPLERS = [BernoulliSampler(), StratifiedSampler()]
RATES = np.array([0.0, 0.05, 0.1, 0.3, 0.5, 0.9])


@pytest.mark.parametrize('sampler', SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize('batch', [1, 2, 4])
def test_keep_rate_is_unbiased(sampler, batch):
    draws = 20000
    rng = plan_generator(0, 0)
    kept = np.mean([sampler(RATES, batch, rng) for _ in range(draws)], axis=0)
    error = np.sqrt(RATES * (1 - RATES) / draws)
    # Five standard errors, for each sample of the batch by itself.
    assert (np.abs(kept - (1 - RATES)[:, None]) <= 5 * error[:, None]).all()


def test_bernoulli_is_independent():
    rng = plan_generator(1, 0)
    keep = np.array([BernoulliSampler()(RATES[4:5], 2, rng)[0] for _ in range(20000)])
    assert abs(np.corrcoef(keep.T)[0, 1]) < 5 / np.sqrt(20000)


@pytest.mark.parametrize('batch', [1, 2, 3, 7])
def test_stratified_counts_are_as_near_as_can_be(batch):
    rng = plan_generator(2, 0)
    counts = np.array(
        [StratifiedSampler()(RATES, batch, rng).sum(axis=1) for _ in range(500)]
    )
    exact = batch * (1 - RATES)
    assert (counts >= np.floor(exact - 1e-9)).all()
    assert (counts <= np.ceil(exact + 1e-9)).all()


def test_fixed_counts():
    """Constant, uniform over samples, and unbiased."""
    rates = np.array([0, 0.25, 0.5, 0.75])
    sampler, rng = StratifiedSampler(fixed=True), plan_generator(0, 0)
    draws = np.stack([sampler(rates, 4, rng) for _ in range(4000)])
    assert (draws.sum(axis=2) == [4, 3, 2, 1]).all()
    error = 5 * np.sqrt(0.25 / 4000)
    assert (abs(draws.mean(axis=0) - (1 - rates)[:, None]) <= error).all()


@pytest.mark.parametrize('batch', range(1, 12))
@pytest.mark.parametrize('rate', [0.1, 0.25, 0.3, 0.5, 0.7, 0.99])
def test_fixed_counts_are_unbiased_or_refused(batch, rate):
    sampler, rates = StratifiedSampler(fixed=True), np.array([0, rate])
    if batch * (100 - round(100 * rate)) % 100:
        with pytest.raises(ValueError, match=rf'rate {rate} for .* of {batch} samples'):
            sampler(rates, batch, plan_generator(0, 0))
    else:
        kept = sampler(rates, batch, plan_generator(0, 0)).sum(axis=1)
        assert kept / batch == pytest.approx(1 - rates)


def test_fixed_counts_make_shapes_constant():
    rates, sampler = np.full(6, 0.25), StratifiedSampler(fixed=True)
    shapes = set()
    for step in range(20):
        rng = plan_generator(0, step)
        keep = np.stack([sampler(rates, 4, rng) for _ in range(2)], axis=1)
        steps = plan_rows(Plan.from_keep(keep, rates), share=False).steps
        shapes.add(tuple((s.rows, s.split, len(s.kept)) for s in steps))
    assert shapes == {((8, None, 6),) * 6}


def test_plans_depend_on_seed_iteration_and_rank_alone():
    def draw(*key):
        return BernoulliSampler()(np.full(40, 0.5), 4, plan_generator(*key)).tobytes()

    assert draw(1, 2, 3) == draw(1, 2, 3)
    # Neighbours, swapped ones and large ones, each of each: no two streams overlap.
    values = (0, 1, 2, 2**32, 2**63 - 1)
    keys = [*itertools.product(values, values, (0, 1, 2), (0, 1, 2))]
    assert len({draw(*key) for key in keys}) == len(keys)


def test_spread_rates():
    depths = [0, 0, 1, 1, 2]
    np.testing.assert_allclose(spread_rates(0.2, depths), [0.2] * 5)
    np.testing.assert_allclose(
        spread_rates(0.2, depths, 'linear'), [0, 0, 0.1, 0.1, 0.2]
    )
    np.testing.assert_allclose(spread_rates(0.2, [0], 'linear'), [0])
    with pytest.raises(ValueError, match=r'\[0, 1\), not 1'):
        spread_rates(1.0, depths)
    with pytest.raises(ValueError, match=r"'cosine'.*'linear'"):
        spread_rates(0.2, depths, 'cosine')


class LinearBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)

    def forward(self, x):
        return x + self.linear(x)


register_block(
    f'{LinearBlock.__module__}.LinearBlock', Branch(lambda block, x: block.linear(x))
)


@pytest.mark.parametrize('sampler', SAMPLERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize('batch', [1, 2])
def test_expected_output_is_the_full_networks(sampler, batch):
    # Of linear branches, drawn independently, the mean over submodels is the product
    # of the means: the full network exactly.
    torch.manual_seed(0)
    model = nn.Sequential(LinearBlock(), LinearBlock(), LinearBlock())
    sites = find_branches(model)
    rates = np.array([0.1, 0.5, 0.3])
    rng = plan_generator(0, 0)
    draws = 4000
    keep = np.stack([sampler(rates, batch, rng) for _ in range(draws)], axis=1)
    x = torch.randn(batch, 3, dtype=torch.float64)
    with torch.no_grad():
        outputs, _ = run_submodels(model, x, Plan.from_keep(keep, rates), sites)
        full = model(x)
    outputs = outputs.reshape(draws, batch, 3)
    error = outputs.std(dim=0) / np.sqrt(draws)
    assert ((outputs.mean(dim=0) - full).abs() <= 5 * error).all()
