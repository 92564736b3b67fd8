"""Compiled residual functions compute what the plain ones do, whatever the rows.

By backends that generate no code: what is traced is the same, and takes seconds.
"""

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import turn_on_activation_checkpointing
from mmseg.registry import MODELS
from networks import TINY
from tiny import BACKBONES, backbone
from torch import Tensor, nn

from mmcosub.submodels import (
    BernoulliSampler,
    Plan,
    compiled_sites,
    find_branches,
    is_exact,
    plan_generator,
    run_submodels,
)
from mmcosub.submodels.branches import Branch
from mmcosub.submodels.compiling import CompiledResidual

pytestmark = pytest.mark.filterwarnings('ignore')  # of the compiler's own


@pytest.fixture(autouse=True)
def compiler() -> Iterator[Any]:
    """The compiler's counters, from 0."""
    import torch._dynamo.utils

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


def draw(model: nn.Module, batch: int, views: int = 2, seed: int = 0) -> Plan:
    rates = np.full(len(find_branches(model)), 0.4)
    rng = plan_generator(seed, 0)
    keep = [BernoulliSampler()(rates, batch, rng) for _ in range(views)]
    return Plan.from_keep(np.stack(keep, axis=1), rates)


def images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 32, 32, dtype=torch.float64)


def assert_same(
    model: nn.Module, x: Tensor, plan: Plan, sites: Any, execution: str
) -> None:
    """Outputs and gradients by some sites are those by the stock ones."""
    found = []
    for each in (find_branches(model), sites):
        model.zero_grad()
        outputs, _ = run_submodels(model, x, plan, each, execution)
        # A different weight for every output element, so that no error cancels.
        weights = [torch.linspace(-1, 2, o.numel()).view_as(o) for o in outputs]
        sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([*outputs, *grads])
    for plain, compiled in zip(*found, strict=True):
        scale = plain.abs().max().clamp_min(1) if plain.numel() else 1
        torch.testing.assert_close(compiled / scale, plain / scale, rtol=0, atol=1e-9)


def compare(
    model: nn.Module, backend: str, counters: Any, batches: tuple[int, ...]
) -> list[int]:
    """Compare over steps of unlike row counts; number of graphs after each step."""
    sites = compiled_sites(find_branches(model), backend=backend)
    shares = is_exact(model, images(2).detach(), find_branches(model), 'shared_prefix')
    execution = 'shared_prefix' if shares else 'kept_rows'
    graphs = []
    for step, batch in enumerate(batches):
        plan = draw(model, batch, seed=step)
        assert_same(model, images(batch), plan, sites, execution)
        graphs.append(counters['stats']['unique_graphs'])
    assert not counters['graph_break']
    assert 0 < graphs[-1] <= 2 * len(sites)
    return graphs


def test_compiled_equals_plain(compiler: Any) -> None:
    model = backbone('mmpretrain ViT').double()
    graphs = compare(model, 'aot_eager', compiler, (3, 5, 4, 1, 6, 2))
    # One for attention and one for FFN, of all blocks and any number of rows.
    assert graphs == [2] * 6


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted({**BACKBONES, **TINY}))
def test_every_known_block(name: str, compiler: Any) -> None:
    model = backbone(name) if name in BACKBONES else tiny(name)
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # it would be other noise in every run
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    compare(model.double(), 'eager', compiler, (4, 3, 5))


def tiny(name: str) -> nn.Module:
    init_default_scope('mmseg')
    config = TINY[name]
    if callable(config):
        return config(0.4)
    config = {'drop_path_rate': 0.4, **copy.deepcopy(config)}
    if config['drop_path_rate'] is None:  # the network takes no such argument
        del config['drop_path_rate']
    return MODELS.build(config)


def test_few_rows_run_as_they_are(compiler: Any) -> None:
    # A size of 1 would be a constant to the compiler, and none is no computation.
    model = backbone('mmpretrain ViT').double()
    sites = compiled_sites(find_branches(model), backend='eager')
    for step in range(3):
        plan = draw(model, 1, views=1, seed=step)
        assert_same(model, images(1), plan, sites, 'kept_rows')
    assert compiler['stats']['unique_graphs'] == 0


@pytest.mark.parametrize('execution', ['plain', 'shared_prefix'])
def test_recomputed_parts(execution: str) -> None:
    model = backbone('mmpretrain ViT').double()
    sites = compiled_sites(find_branches(model), backend='eager')
    turn_on_activation_checkpointing(model, ['layers.1', 'layers.3'])
    assert_same(model, images(3), draw(model, 3), sites, execution)


def asks_for_values(block: nn.Module, x: Tensor) -> Tensor:
    return block(x) if x.sum().item() > 0 else x


def counts_rows(block: nn.Module, x: Tensor) -> Tensor:
    return block(x) * [0.0, 1.0, 2.0, 3.0, 4.0][len(x)]


@pytest.mark.parametrize('residual', [asks_for_values, counts_rows])
def test_what_cannot_be_compiled_is_refused(residual: Any) -> None:
    compiled = CompiledResidual(residual, dict(backend='eager'))
    with pytest.raises(ValueError, match=r'branch of Linear for any number of rows: '):
        compiled(nn.Linear(2, 2), torch.ones(3, 2))


def test_copies() -> None:
    model = backbone('mmpretrain ViT')
    residual = compiled_sites(find_branches(model), backend='eager')[0].branch.residual
    for copied in (copy.deepcopy(residual), pickle.loads(pickle.dumps(residual))):
        assert isinstance(copied, CompiledResidual)
        assert pickle.dumps(copied) == pickle.dumps(residual)


def test_sites_are_the_same_otherwise() -> None:
    sites = find_branches(backbone('mmpretrain Swin'))
    compiled = compiled_sites(sites, backend='eager')
    assert len({id(site.branch) for site in compiled}) == 4  # two a stage
    for a, b in zip(sites, compiled, strict=True):
        assert (a.name, a.block, a.depth, a.rate) == (b.name, b.block, b.depth, b.rate)
        assert isinstance(b.branch, Branch)
        assert b.branch.residual.plain is a.branch.residual
