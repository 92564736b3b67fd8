import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import turn_on_activation_checkpointing
from tiny import BACKBONES, backbone
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    checkpoint_wrapper,
)

from mmcosub.submodels import (
    BernoulliSampler,
    Plan,
    find_branches,
    plan_generator,
    run_submodels,
    spread_rates,
)

FAST = ('kept_rows', 'shared_prefix')


def draw(sites, batch, rate=0.4, views=2, seed=0):
    rates = spread_rates(rate, [site.depth for site in sites])
    rng = plan_generator(seed, 0)
    keep = [BernoulliSampler()(rates, batch, rng) for _ in range(views)]
    return Plan.from_keep(np.stack(keep, axis=1), rates)


def run(model, images, plan, execution):
    """Outputs, gradients by name, share of work."""
    model.zero_grad()
    outputs, work = run_submodels(model, images, plan, find_branches(model), execution)
    # A different weight for every output element, so that no error cancels.
    loss = sum(
        (o * torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view_as(o)).sum()
        for o in outputs
    )
    loss.backward()
    return outputs, {n: p.grad for n, p in model.named_parameters()}, work


def assert_same(fast, plain, tolerance):
    for a, b in zip(fast[0], plain[0], strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    for name, grad in plain[1].items():
        if grad is None:
            assert fast[1][name] is None, name
        else:
            scale = grad.abs().max().clamp_min(1)
            torch.testing.assert_close(
                fast[1][name] / scale, grad / scale, rtol=0, atol=tolerance
            )


@pytest.mark.parametrize('execution', FAST)
@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize(
    ('batch', 'size', 'rate', 'dtype', 'tolerance'),
    [
        (1, (32, 32), 0.5, torch.float64, 1e-10),
        (2, (40, 32), 0.3, torch.float64, 1e-10),
        (3, (36, 52), 0.1, torch.float64, 1e-10),
        (5, (32, 40), 0.9, torch.float64, 1e-10),
        (4, (48, 32), 0.4, torch.float32, 1e-5),
    ],
)
def test_fast_equals_plain(execution, name, batch, size, rate, dtype, tolerance):
    if 'ViT' in name:  # whole patches only, as in the stock network
        size = tuple(s // 8 * 8 for s in size)
    model = backbone(name).to(dtype)
    images = torch.randn(batch, 3, *size, dtype=dtype)
    plan = draw(find_branches(model), batch, rate)
    plain = run(model, images, plan, 'plain')
    assert_same(run(model, images, plan, execution), plain, tolerance)


@pytest.fixture(scope='module')
def models():
    return {name: backbone(name).double() for name in BACKBONES}


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(BACKBONES)),
    views=st.integers(1, 3),
    batch=st.integers(1, 4),
    execution=st.sampled_from(FAST),
    data=st.data(),
)
def test_any_plan(models, name, views, batch, execution, data):
    # Any factors at all, not only those of drop path: 0, 1 (a full network's) and a
    # scaled one may meet in one row.
    model = models[name]
    shape = (len(find_branches(model)), views, batch)
    size = int(np.prod(shape))
    factors = st.lists(st.sampled_from([0.0, 1.0, 1.6]), min_size=size, max_size=size)
    plan = Plan(np.array(data.draw(factors)).reshape(shape))
    images = torch.randn(batch, 3, 32, 32, dtype=torch.float64)
    plain = run(model, images, plan, 'plain')
    assert_same(run(model, images, plan, execution), plain, 1e-10)


@pytest.mark.parametrize('name', BACKBONES)
def test_full_network_is_the_stock_network(name):
    model = backbone(name, drop_path_rate=0.0)
    images = torch.randn(2, 3, 32, 32)
    sites = find_branches(model)
    plan = Plan(np.ones((len(sites), 1, 2)))
    stock = model(images)
    for execution in FAST:
        outputs, work = run_submodels(model, images, plan, sites, execution)
        assert work == 1
        for a, b in zip(outputs, stock, strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize('name', BACKBONES)
def test_plain_equals_stock_drop_path(name, monkeypatch):
    # Give the stock network's own drop path the plan's draws, in their order.
    model = backbone(name).double()
    sites = find_branches(model)
    rates = np.array([site.rate for site in sites])
    keep = BernoulliSampler()(rates, 3, plan_generator(3, 0))
    drawn = [k for k, site in zip(keep, sites, strict=True) if site.rate]
    draws = iter(torch.from_numpy(np.array(drawn)).double() * 0.999)

    def rand(shape, dtype=None, device=None):
        # mmcv keeps where floor(1 - rate + rand) is 1.
        return next(draws).reshape(shape)

    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(torch, 'rand', rand)
        stock = model(images)
    assert next(draws, None) is None
    plan = Plan.from_keep(keep[:, None], rates)
    for execution in ('plain', *FAST):
        outputs, _ = run_submodels(model, images, plan, sites, execution)
        for a, b in zip(outputs, stock, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('name', ['mmseg ViT', 'mmseg Swin', 'mmpretrain Swin'])
def test_activation_checkpointing(name):
    model = backbone(name).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    plan = draw(find_branches(model), 2)
    plain = run(model, images, plan, 'plain')
    for module in model.modules():
        if hasattr(module, 'with_cp'):
            module.with_cp = True
    for execution in ('plain', *FAST):
        assert_same(run(model, images, plan, execution), plain, 1e-10)


def parts(name):
    """Parts of a backbone, by dotted name, to recompute; several blocks and one."""
    if 'Swin' in name:
        return ['stages.1', 'stages.0.blocks.1']
    return ['layers.1', 'layers.3'] if 'ViT' in name else ['layers.0.1.0', 'layers.1']


@pytest.mark.parametrize('execution', ['plain', *FAST])
@pytest.mark.parametrize('name', BACKBONES)
def test_activation_checkpointing_of_mmengine(name, execution):
    model = backbone(name).double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    plan = draw(find_branches(model), 2)
    plain = run(model, images, plan, 'plain')
    names = [n for n in parts(name) if not isinstance(pick(model, n), nn.ModuleList)]
    turn_on_activation_checkpointing(model, names)
    calls = count_calls(find_branches(model)[-1].block)
    assert_same(run(model, images, plan, execution), plain, 1e-10)
    assert calls[0] == (2 if 'MiT' not in name else 1)
    installed = {n: vars(pick(model, n))['forward'] for n in names}
    run(model, images, plan, execution)
    for n, forward in installed.items():  # once
        assert vars(pick(model, n))['forward'] is forward
    if 'ViT' in name:  # where MMEngine's takes the arguments
        with pytest.warns(UserWarning, match='use_reentrant'):  # outside of a pass
            model(images.requires_grad_())


def pick(model, name):
    return model.get_submodule(name)


def count_calls(block):
    """How often a block's first norm runs: once more where it is recomputed."""
    calls = [0]

    def count(*args):
        calls[0] += 1

    next(
        m for m in block.modules() if isinstance(m, nn.LayerNorm)
    ).register_forward_hook(count)
    return calls


def test_recomputation_is_of_the_same_iteration():
    # Two passes before one backward: each part meets the plan of its own pass.
    model = backbone('mmpretrain Swin').double()
    sites = find_branches(model)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    plans = [draw(sites, 2, seed=seed) for seed in (0, 1)]

    def gradients():
        model.zero_grad()
        runs = [run_submodels(model, images, plan, sites)[0] for plan in plans]
        sum(o.square().sum() for outputs in runs for o in outputs).backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    plain = gradients()
    turn_on_activation_checkpointing(model, ['stages.0', 'stages.1'])
    for a, b in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_checkpoint_wrapper_of_pytorch():
    model = backbone('mmpretrain Swin').double()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    plan = draw(find_branches(model), 2)
    plain = run(model, images, plan, 'plain')
    model.stages[1] = checkpoint_wrapper(model.stages[1])
    outputs, grads, work = run(model, images, plan, 'shared_prefix')
    grads = {k.replace('_checkpoint_wrapped_module.', ''): g for k, g in grads.items()}
    assert_same((outputs, grads, work), plain, 1e-10)


class Regrouping(nn.Module):
    """Makes two rows of one, as MobileViT does."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x.reshape(-1, x.shape[1] // 2, x.shape[2])).reshape(x.shape)


@pytest.mark.parametrize('execution', ['plain', *FAST])
def test_rows_of_another_kind_are_refused(execution):
    model = nn.Sequential(Regrouping(backbone('mmpretrain ViT').layers[0]))
    sites = find_branches(model)
    with pytest.raises(ValueError, match=r"'0.block'.* gets \d+ rows where \d+ are"):
        run_submodels(model, torch.randn(1, 4, 16), draw(sites, 1), sites, execution)


def test_another_order_is_refused_where_it_matters():
    model = backbone('mmpretrain ViT')
    blocks = nn.Sequential(*model.layers)
    sites = find_branches(blocks)
    x, plan = torch.randn(2, 4, 16), draw(sites, 2)

    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = blocks

        def forward(self, x):
            for block in reversed(self.blocks):
                x = block(x)
            return x

    with pytest.raises(ValueError, match=r"3 runs where blocks.0 .*'kept_rows'"):
        run_submodels(Reversed(), x, plan, find_branches(Reversed()))
    kept, plain = (
        run_submodels(Reversed(), x, plan, find_branches(Reversed()), execution)[0]
        for execution in ('kept_rows', 'plain')
    )
    torch.testing.assert_close(kept, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_mixed_precision(name, dtype):
    model = backbone(name)
    images = torch.randn(3, 3, 32, 32)
    plan = draw(find_branches(model), 3)
    exact = run(model, images, plan, 'plain')
    with torch.autocast('cpu', dtype):
        plain = relative_error(run(model, images, plan, 'plain'), exact)
        fast = relative_error(run(model, images, plan, 'shared_prefix'), exact)
    # Sums over rows are rounded in another order, so the two differ; but the fast form
    # is about as near the truth as the plain one.
    assert 0 < fast < 1.5 * plain
    assert plain < 20 * torch.finfo(dtype).eps


def relative_error(result, exact):
    """Median over all outputs and gradients of the relative error of each."""
    pairs = list(zip(result[0], exact[0], strict=True))
    pairs += [(result[1][k], g) for k, g in exact[1].items() if g is not None]
    errors = [(a - b).norm() / b.norm() for a, b in pairs if b.any()]
    return torch.stack(errors).median().item()


def test_skipped_branch_has_zero_gradient():
    model = backbone('mmpretrain Swin')
    sites = find_branches(model)
    plan = Plan(np.zeros((len(sites), 2, 1)))
    _, grads, work = run(model, torch.randn(1, 3, 32, 32), plan, 'shared_prefix')
    assert work == 0
    assert all(grad is not None for grad in grads.values())
    block = [g for n, g in grads.items() if '.blocks.' in n]
    assert not any(g.any() for g in block)
    assert grads['patch_embed.projection.weight'].any()


def test_work_is_what_is_computed():
    model = backbone('mmpretrain ViT')
    sites = find_branches(model)
    keep = np.ones((8, 2, 1))
    keep[2, 0] = 0  # the views part at the third of eight branches
    _, work = run_submodels(model, torch.randn(1, 3, 32, 32), Plan(keep), sites)
    # Two branches on one shared row, one on one of two rows, five on both.
    assert work == (2 * 1 + 1 + 5 * 2) / 16


def test_nothing_is_left_behind():
    model = backbone('mmpretrain ViT')
    sites = find_branches(model)
    names = set(model.state_dict())
    plan = draw(sites, 2)
    run_submodels(model, torch.randn(2, 3, 32, 32), plan, sites)
    with pytest.raises(RuntimeError):
        run_submodels(model, torch.randn(2, 5, 32, 32), plan, sites)
    assert all('forward' not in vars(site.block) for site in sites)
    assert set(model.state_dict()) == names
    assert [site.rate for site in find_branches(model)] == [s.rate for s in sites]
    copy.deepcopy(model)


def test_unknown_execution():
    model = backbone('mmpretrain ViT')
    sites = find_branches(model)
    with pytest.raises(ValueError, match=r"'quick'.*shared_prefix"):
        run_submodels(model, torch.randn(1, 3, 32, 32), draw(sites, 1), sites, 'quick')
