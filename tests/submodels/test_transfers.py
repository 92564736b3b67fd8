"""A plan goes to the device at once, whatever execution it is for."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny import backbone
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmcosub.submodels import (
    EXECUTIONS,
    Plan,
    called_drop_paths,
    find_branches,
    run_submodels,
)


class Transfers(TorchDispatchMode):
    """Notes how many numbers each copy to another device has."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given, made = (
            [x for x in tree_leaves(tree) if isinstance(x, Tensor)]
            for tree in ((args, kwargs), out)
        )
        if len({x.device.type for x in given + made}) > 1:
            self.sizes.append(max(x.numel() for x in given))
        return out


@pytest.mark.parametrize('factors', [(0.0, 1.6), (0.0, 1.0, 1.6)])
@pytest.mark.parametrize('execution', EXECUTIONS)
def test_one_transfer(execution: str, factors: tuple[float, ...]) -> None:
    model = backbone('mmpretrain Swin')
    if execution == 'drop_path':
        sites: Any = called_drop_paths(model, torch.randn(1, 3, 32, 32))
    else:
        sites = find_branches(model)
    shape = (len(sites), 2, 6)
    plan = Plan(np.random.default_rng(0).choice(factors, shape))
    images = torch.randn(6, 3, 32, 32, device='meta')
    run_submodels(model.to('meta'), images, plan, sites, execution)  # caches of its own
    with Transfers() as seen:
        outputs, _ = run_submodels(model, images, plan, sites, execution)
    assert all(output.device.type == 'meta' for output in outputs)
    if execution in ('plain', 'drop_path'):
        assert seen.sizes == [plan.multipliers.size]
        return
    # One of indices. Where factors are more than one number a branch, another of them.
    differ = len(factors) > 2
    assert len(seen.sizes) == 1 + differ
    if differ:
        kept = (plan.multipliers > 0).sum()
        assert 0 < seen.sizes[1] <= kept
