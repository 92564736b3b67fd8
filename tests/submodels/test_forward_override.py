"""What a network recomputes by itself meets the plan, or is refused."""

import copy

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
    run_submodels,
)
from mmcosub.submodels.branches import has_fixed_batch

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


@pytest.mark.filterwarnings('ignore:.*the use_reentrant parameter')  # HorNet's call
@pytest.mark.parametrize('name', NETWORKS)
def test_recomputed_by_the_network(name: str) -> None:
    model = network(name)
    plan = draw(model)
    ways = ['drop_path'] if 'MixMIM' in name else ['plain', 'shared_prefix']
    if has_fixed_batch(model):
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
    """Recomputes a block by a function that is not found."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return by_another_name(self.block, x, use_reentrant=True)


@pytest.mark.filterwarnings('ignore:None of the inputs have requires_grad')
@pytest.mark.parametrize('name', ['timm BEiT', 'mmpretrain MixMIM'])
def test_what_is_recomputed_unseen_is_refused(name: str) -> None:
    model = network(name)
    plan = draw(model)
    way = 'drop_path' if 'MixMIM' in name else 'plain'
    gradients(model, plan, way)
    model = Unseen(model)
    sites = branches(model)
    with pytest.raises(ValueError, match=r'runs without gradients.*of MMEngine'):
        run_submodels(model, images(), plan, sites, way)
    model.requires_grad_(False)  # nothing to learn
    run_submodels(model, images(), plan, sites, way)
