"""With a fixed number of kept rows, every step asks the device for the very same.

By what is launched, operation by operation with the shapes, forward and backward, on
tensors without values. That is what CUDA graphs and ``cudnn_benchmark`` need, and what
makes the ranks' work equal.
"""

from typing import Any

import pytest
import torch
from tiny import backbone
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmcosub.schemes import Cosub
from mmcosub.submodels import find_branches, plan_generator, plan_rows, run_submodels

BATCH = 10  # of which 1 - rate is a whole number


class Launched(TorchDispatchMode):
    """Notes every operation and the shapes of all that it is given and makes."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, out)) if isinstance(x, Tensor)]
        self.all.append((str(func), [tuple(x.shape) for x in tensors]))
        return out


def scheme(sampler: dict) -> Cosub:
    return Cosub(drop_path_rate=0.3, execution='kept_rows', sampler=sampler)


def launched(model: nn.Module, sampler: dict, step: int, rank: int) -> list[tuple]:
    sites, method = find_branches(model), scheme(sampler)
    plan = method.draw(sites, BATCH, plan_generator(0, step, rank))
    images = torch.empty(BATCH, 3, 32, 32, device='meta')
    model.zero_grad(set_to_none=False)
    with Launched() as seen:
        outputs, _ = run_submodels(model, images, plan, sites, method.execution)
        sum(o.sum() for o in outputs).backward()
    return seen.all


@pytest.mark.parametrize('name', ['mmpretrain ViT', 'mmpretrain Swin'])
def test_every_step_is_the_same(name: str) -> None:
    model = backbone(name).to('meta')
    fixed = dict(type='StratifiedSampler', fixed=True)
    launched(model, fixed, 0, 0)  # makes gradients and caches
    first = launched(model, fixed, 0, 0)
    assert len(first) > 500
    for step in range(5):
        for rank in range(2):
            assert launched(model, fixed, step, rank) == first
    # The test can fail: drop path's own draws are of other shapes every time.
    drawn = dict(type='BernoulliSampler')
    assert launched(model, drawn, 0, 0) != launched(model, drawn, 1, 0)


def test_numbers_of_rows() -> None:
    sites = find_branches(backbone('mmpretrain Swin'))
    method = scheme(dict(type='StratifiedSampler', fixed=True))
    counts, factors = set(), set()
    for step in range(20):
        for rank in range(8):
            plan = method.draw(sites, BATCH, plan_generator(0, step, rank))
            steps = plan_rows(plan, share=False).steps
            counts.add(tuple(len(s.kept) if s.kept is not None else -1 for s in steps))
            factors.add(tuple(s.scale for s in steps))
            assert all(s.split is None for s in steps)
    # 0.7 of 10 images, of each of two views.
    assert counts == {(14,) * len(sites)}
    assert len(factors) == 1
