"""Rows are moved in memory that is there, and nobody else's is changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmcosub.submodels import Branch, Plan, find_branches, register_block, run_submodels

WIDTH = 8


def unmoved(block: nn.Module, x: Tensor) -> Tensor:
    """A residual function that moves nothing."""
    return x.view_as(x)


def first_linear(block: nn.Module, x: Tensor) -> Tensor:
    return block.one(x)


def second_linear(block: nn.Module, x: Tensor) -> Tensor:
    return block.two(x)


class Moving(nn.Module):
    """A block of which nothing is left but its sums."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Linears(nn.Module):
    """A block of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.one(x)
        return x + self.two(x)


register_block(f'{__name__}.Moving', Branch(unmoved), Branch(unmoved))
register_block(Linears, Branch(first_linear), Branch(second_linear))


class BytesWritten(TorchDispatchMode):
    """Counts what operations write: each output that is no view, or what is added."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        known = {a.untyped_storage()._cdata for a in args if isinstance(a, Tensor)}
        out = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name in ('index_add', 'index_add_'):
            self.total += args[3].nbytes
        if name == 'index_add':
            return out  # in place without a mode, in the backward of index_select
        if name in ('copy_', 'mul_', 'zero_') or 'out' in kwargs:
            self.total += out.nbytes
        elif isinstance(out, Tensor) and not name.startswith('empty'):
            assert not name.endswith('_') or name == 'index_add_', f'writes {name}?'
            if out.untyped_storage()._cdata not in known:
                self.total += out.nbytes
        return out


def rows_written(keep: np.ndarray, rate: float) -> tuple[float, float]:
    """Rows written forward and backward by one block, for (2, V, B) kept branches."""
    factors = keep / (1 - rate)
    views, batch = keep.shape[1:]
    model = nn.Sequential(Moving())
    x = torch.randn(batch, WIDTH, dtype=torch.float64, requires_grad=True)
    with BytesWritten() as forward:
        out, _ = run_submodels(model, x, Plan(factors), find_branches(model))
    assert len(out) == views * batch
    grad = torch.randn_like(out)
    with BytesWritten() as backward:
        out.backward(grad)
    row = WIDTH * x.element_size()
    return forward.total / row, backward.total / row


@pytest.mark.parametrize(
    ('keep', 'forward', 'backward'),
    [
        # Nobody parts. The branches of 4 images are kept by 3 and 2 of them. Forward:
        # one copy of all rows, and what is kept is taken out and added back; at the end
        # the rows are spread to the two views. Backward: the same the other way, on
        # zeros at first, and what is kept is multiplied by its factor, too.
        (
            [[[1, 1, 1, 0]] * 2, [[1, 0, 1, 0]] * 2],
            4 + 2 * (3 + 2) + 8,
            (4 + 8) + 4 + 3 * (3 + 2),
        ),
        # Two images part at the second branch: their rows are written behind the
        # others, in memory that is there.
        (
            [[[1, 0, 1, 1]] * 2, [[1, 1, 1, 0], [0, 1, 0, 0]]],
            4 + 2 * 3 + (2 + 2 * 3) + 8,
            (6 + 8) + 6 + 3 * 3 + 2 + 3 * 3,
        ),
    ],
)
def test_rows_written(keep, forward, backward) -> None:
    assert rows_written(np.array(keep), 0.5) == (forward, backward)


class Holding(nn.Module):
    """A backbone that keeps what comes in and out of blocks, and adds to it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Linears() for _ in range(3))
        self.offset = nn.Parameter(torch.randn(WIDTH))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        held = []
        for block in self.blocks:
            held.append(x)
            # PyTorch hands the gradient of a sum to both terms, and the offset's is
            # that of all rows.
            x = block(x) + self.offset.expand_as(x[:1])
            x = x + held[-1].mean(0)
        return (*held[1:], x)


@pytest.fixture(scope='module')
def holding() -> Holding:
    torch.manual_seed(0)
    return Holding().double()


@settings(max_examples=60, deadline=None)
@given(batch=st.integers(1, 4), views=st.integers(1, 3), data=st.data())
def test_nobody_elses_memory_is_changed(holding, batch, views, data) -> None:
    shape = (6, views, batch)
    size = int(np.prod(shape))
    factors = st.lists(st.sampled_from([0.0, 1.0, 1.6]), min_size=size, max_size=size)
    plan = Plan(np.array(data.draw(factors)).reshape(shape))
    sites = find_branches(holding)
    seen: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, args: tuple, output: Tensor) -> None:
        for x in (*args, output):
            seen.append((x, x.detach().clone()))
            if x.requires_grad:
                x.register_hook(lambda grad: seen.append((grad, grad.clone())))

    modules = [m for b in holding.blocks for m in b.modules()]
    handles = [module.register_forward_hook(note) for module in modules]
    x = torch.randn(batch, WIDTH, dtype=torch.float64)
    results = []
    for execution in ('plain', 'kept_rows'):
        holding.zero_grad()
        images = x.clone().requires_grad_()
        outputs, _ = run_submodels(holding, images, plan, sites, execution)
        weight = torch.linspace(-1, 2, outputs[-1].numel()).double()
        sum((o.square() * weight.view_as(o)).sum() for o in outputs).backward()
        results.append([*outputs, images.grad, *(p.grad for p in holding.parameters())])
    for handle in handles:
        handle.remove()
    assert len(seen) > 6
    assert all(torch.equal(now, then) for now, then in seen)
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_second_derivative() -> None:
    """Of what rows go through, whatever the blocks allow."""
    torch.manual_seed(0)
    model = nn.Sequential(Linears(), Linears()).double()
    sites = find_branches(model)
    keep = np.random.default_rng(0).random((4, 2, 3)) < 0.6

    def run(x: Tensor) -> Tensor:
        return run_submodels(model, x, Plan(keep / 0.6), sites)[0].sin()

    x = torch.randn(3, WIDTH, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_memory_format(layout: torch.memory_format) -> None:
    """Rows stay as they are in memory, whatever happens to them."""
    model = nn.Sequential(Moving(), Moving())
    seen: list[Tensor] = []

    def note(block: nn.Module, x: Tensor) -> Tensor:
        seen.append(x)
        return x.view_as(x)

    keep = np.array([[1, 1, 0], [1, 0, 1]] * 4, dtype=float).reshape(4, 2, 3)
    x = torch.randn(3, 4, 5, 6).contiguous(memory_format=layout).requires_grad_()
    branch = Branch(note)
    sites = [replace(site, branch=branch) for site in find_branches(model)]
    out, _ = run_submodels(model, x, Plan(keep), sites)
    grads = torch.autograd.grad(out, [x, *seen], torch.randn_like(out))
    assert len(seen) == 4
    for tensor in (out, *seen, *grads):
        assert tensor.is_contiguous(memory_format=layout)
