"""What a network recomputes by itself meets the plan, or is refused."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from networks import TINY
from torch import nn
from torch.utils import checkpoint as checkpoints
from torch.utils.checkpoint import checkpoint as by_another_name

from mmcosub.submodels import (
    Plan,
    are_drop_paths,
    called_drop_paths,
    find_sites,
    is_exact,
    run_submodels,
)

MIXMIM = dict(
    type='mmpretrain.MixMIMTransformer',
    arch=dict(embed_dims=8, depths=[1, 2, 1, 1], num_heads=[1, 1, 1, 1]),
    img_size=32,
    window_size=[2, 2, 2, 1],
)

# The stage recomputes its blocks, and not a block itself.
NETWORKS = {
    name: TINY[name]
    for name in (
        'mmpretrain TinyViT',
        'mmpretrain RepLKNet',
        'timm BEiT',
        'timm ConvNeXt',
    )
}
NETWORKS['mmpretrain MixMIM'] = MIXMIM
NETWORKS['mmpretrain HorNet'] = copy.deepcopy(TINY['mmpretrain HorNet'])
NETWORKS['mmpretrain HorNet']['arch']['depths'] = [1, 1, 1, 2]  # not a stage's last


def network(name: str) -> nn.Module:
    init_default_scope('mmseg')
    torch.manual_seed(0)
    model = MODELS.build({'drop_path_rate': 0.4, **copy.deepcopy(NETWORKS[name])})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model.double()
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    return model


def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 3, 32, 32, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


def branches(model: nn.Module) -> list:
    sites = find_sites(model)
    return called_drop_paths(model, images()) if are_drop_paths(sites) else sites


def gradients(model: nn.Module, plan: Plan, execution: str) -> list[torch.Tensor]:
    """Of two passes, with plans of their own, before one backward pass."""
    sites = branches(model)
    model.zero_grad()
    total = torch.zeros((), dtype=torch.float64)
    for multipliers in (plan.multipliers, 1.5 - plan.multipliers):
        each = Plan(multipliers)
        outputs, _ = run_submodels(model, images(), each, sites, execution)
        for o in outputs if isinstance(outputs, (tuple, list)) else [outputs]:
            total = total + (o * torch.linspace(-1, 2, o.numel()).view_as(o)).sum()
    total.backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def draw(model: nn.Module) -> Plan:
    count = len(branches(model))
    return Plan(np.random.default_rng(0).choice([0.0, 1.5], (count, 2, 3)))


@pytest.mark.parametrize('name', NETWORKS)
def test_recomputed_by_the_network(name: str) -> None:
    model = network(name)
    plan = draw(model)
    ways = ['drop_path'] if 'MixMIM' in name else ['plain', 'shared_prefix']
    if ways[1:] and not is_exact(
        model, images().detach(), branches(model), 'shared_prefix'
    ):
        ways[1] = 'kept_rows'
    expected = gradients(model, plan, ways[0])

    stock = checkpoints.checkpoint
    calls: list[int] = []
    for inner in model.modules():
        if not [*inner.children()]:  # what holds others may be passed by
            inner.register_forward_hook(lambda *_: calls.append(0))
    gradients(model, plan, ways[0])
    once = len(calls)
    for module in model.modules():
        for flag in ('with_cp', 'use_checkpoint', 'grad_checkpointing'):
            if isinstance(vars(module).get(flag), bool):
                setattr(module, flag, True)
    for way in ways:
        calls.clear()
        for a, b in zip(gradients(model, plan, way), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
        assert len(calls) > once  # recomputed
    assert checkpoints.checkpoint is stock


class Unseen(nn.Module):
    """Recomputes a block without a flag that is known."""

    def __init__(self, block: nn.Module, use_reentrant: bool) -> None:
        super().__init__()
        self.block = block
        self.use_reentrant = use_reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return by_another_name(self.block, x, use_reentrant=self.use_reentrant)


@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
@pytest.mark.parametrize('reentrant', [True, False])
@pytest.mark.parametrize('name', ['timm BEiT', 'mmpretrain MixMIM'])
def test_what_is_recomputed_unseen_is_refused(name: str, reentrant: bool) -> None:
    model = network(name)
    plan = draw(model)
    way = 'drop_path' if 'MixMIM' in name else 'plain'
    gradients(model, plan, way)
    model = Unseen(model, reentrant)
    sites = branches(model)
    with pytest.raises(ValueError, match=r'recomputes \w+ in a way.*of MMEngine'):
        gradients(model, plan, way)
    with torch.no_grad():
        run_submodels(model, images(), plan, sites, way)
    if reentrant:
        model.requires_grad_(False)  # nothing to learn
        run_submodels(model, images(), plan, sites, way)


class Recomputing(nn.Module):
    """Part of a block that recomputes itself."""

    def __init__(self, inner: nn.Module, with_cp: bool) -> None:
        super().__init__()
        self.inner = inner
        self.with_cp = with_cp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.with_cp:
            return by_another_name(self.inner, x, use_reentrant=False)
        return self.inner(x)


@pytest.mark.parametrize('way', ['plain', 'shared_prefix'])
def test_a_part_of_a_block_is_recomputed(way: str) -> None:
    grads = []
    for with_cp in (False, True):
        model = network('timm BEiT')
        block = branches(model)[0].block
        block.mlp = Recomputing(block.mlp, with_cp)
        grads.append(gradients(model, draw(model), way))
        assert block.mlp.with_cp == with_cp
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


# ---- between and beside passes ---------------------------------------------------


def test_the_whole_pass_may_be_recomputed() -> None:
    model = network('timm BEiT')
    plan, sites = draw(model), branches(model)

    def passed(x: torch.Tensor) -> torch.Tensor:
        return run_submodels(model, x, plan, sites)[0][-1]

    grads = []
    for run in (passed, partial(by_another_name, passed, use_reentrant=False)):
        x = images()
        run(x).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('name', ['mmpretrain TinyViT', 'mmpretrain MixMIM'])
def test_modules_stay_as_upstream_made_them(name: str) -> None:
    model = network(name)
    before = {n: set(vars(m)) for n, m in model.named_modules()}
    plan, way = draw(model), 'drop_path' if 'MixMIM' in name else 'plain'
    expected = gradients(model, plan, way)
    assert {n: set(vars(m)) for n, m in model.named_modules()} == before
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for a, b in zip(gradients(other, plan, way), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_exported_after_a_pass() -> None:
    model = network('timm BEiT')
    gradients(model, draw(model), 'plain')
    model.eval()
    x = images().detach()
    for strict in (False, True):
        exported = torch.export.export(model, (x,), strict=strict).module()
        torch.testing.assert_close(exported(x), model(x))


def test_a_pass_is_of_its_thread() -> None:
    model = network('mmpretrain TinyViT')
    model.eval()
    plans = [Plan(np.full_like(draw(model).multipliers, f)) for f in (0.0, 0.5, 1.0)]
    met = threading.Barrier(4, timeout=60)
    blocks = find_sites(model)
    handle = blocks[0].block.register_forward_pre_hook(lambda *_: (met.wait(), None)[1])

    def passed(plan: Plan | None) -> torch.Tensor:
        with torch.no_grad():
            if plan is None:
                return model(images())[-1]
            return run_submodels(model, images(), plan, blocks, 'plain')[0][-1][:3]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(passed, [*plans, None]))
    handle.remove()
    for plan, output in zip([*plans, None], together, strict=True):
        torch.testing.assert_close(output, passed(plan))
    torch.testing.assert_close(together[2], together[3])
    assert not torch.allclose(together[0], together[3])
