"""A convolution applied to each level is that over the upsampled levels."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mmcosub.fast.convolutions import can_fuse
from mmcosub.fast.fused_conv import fused_conv

CONV = F.conv2d
MODULE: Any = import_module('mmcosub.fast.fused_conv')

# Of tensors with the same values, and others in memory.
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    'contiguous': Tensor.contiguous,
    'channels last': lambda x: x.contiguous(memory_format=torch.channels_last),
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
}

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.fixture(autouse=True, scope='module')
def own_resolution() -> Iterator[None]:
    """Of so few channels, levels would all be resized."""
    with mock.patch.object(MODULE, '_PRODUCT_COST', -1e9):
        yield


def plain(conv: nn.Module, levels: Sequence[Tensor], align: bool) -> Tensor:
    """The same over upsampled, concatenated levels."""
    resized = [
        F.interpolate(x, levels[0].shape[2:], mode='bilinear', align_corners=align)
        for x in levels
    ]
    return conv(torch.cat(resized, dim=1))


def convolution(channels: int, kernel: int, bias: bool = True) -> nn.Conv2d:
    """Three outputs at the input's resolution, in float64."""
    torch.manual_seed(0)
    conv = nn.Conv2d(channels, 3, kernel, padding=kernel // 2, bias=bias)
    return conv.double()


def random_levels(
    shapes: Sequence[tuple[int, tuple[int, int]]], batch: int = 2
) -> list[Tensor]:
    """A leaf in float64 for each number of channels and size."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(batch, c, *size, generator=generator).double().requires_grad_()
        for c, size in shapes
    ]


def gradients(out: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Of a weighted sum of the output, each place with a weight of its own."""
    weight = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view_as(out)
    return torch.autograd.grad((out * weight).sum(), inputs)


@settings(max_examples=150, deadline=None)
@given(
    batch=st.integers(1, 3),
    size=sizes,
    others=st.lists(st.tuples(st.integers(1, 3), sizes), min_size=0, max_size=3),
    align_corners=st.booleans(),
    bias=st.booleans(),
    kernel=st.sampled_from([1, 3]),
    chunk=st.sampled_from([1, 100, 2**22]),
    cost=st.sampled_from([-1e9, 2.5]),
    layout=st.sampled_from(sorted(LAYOUTS)),
)
@example(
    2,
    (8, 6),
    [(2, (4, 3)), (3, (2, 2))],
    True,
    True,
    3,
    100,
    -1e9,
    'transposed',
)
def test_as_over_upsampled_levels(
    batch: int,
    size: tuple[int, int],
    others: list[tuple[int, tuple[int, int]]],
    align_corners: bool,
    bias: bool,
    kernel: int,
    chunk: int,
    cost: float,
    layout: str,
) -> None:
    shapes = [(2, size), *others]
    leaves = random_levels(shapes, batch)
    levels = [LAYOUTS[layout](leaf) for leaf in leaves]
    conv = convolution(sum(c for c, _ in shapes), kernel, bias)
    assert can_fuse(conv)
    with (
        mock.patch.object(MODULE, '_CHUNK', chunk),
        mock.patch.object(MODULE, '_PRODUCT_COST', cost),
    ):
        got = fused_conv(conv, levels, align_corners)
        got_grads = gradients(got, [*leaves, *conv.parameters()])
    expected = plain(conv, levels, align_corners)
    expected_grads = gradients(expected, [*leaves, *conv.parameters()])
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)
    for a, b in zip(got_grads, expected_grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('chunk', 'count'), [(1, 3), (250, 2), (2**22, 1)])
def test_chunks_are_as_small_as_asked(chunk: int, count: int) -> None:
    parts = random_levels([(2, (4, 3)), (1, (2, 2))])
    parts += [torch.zeros(3, 2, 3, 3), torch.zeros(3, 1, 3, 3)]
    with mock.patch.object(MODULE, '_CHUNK', chunk):
        chunks = list(MODULE._chunks(torch.zeros(2, 3, 8, 8), parts))
    done = torch.zeros(2, 2, 3)
    for i, outputs, level in chunks:
        done[level, i, outputs] += 1
    assert torch.equal(done, torch.ones_like(done))
    assert len(chunks) == 2 * 2 * count


@pytest.mark.parametrize('kernel', [1, 3])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('chunk', [100, 2**22])
def test_autocast(
    kernel: int, bias: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, '_CHUNK', chunk)
    shapes = [(4, (12, 10)), (3, (6, 5)), (2, (3, 3))]
    levels = [x.detach().float().requires_grad_() for x in random_levels(shapes)]
    conv = convolution(sum(c for c, _ in shapes), kernel, bias).float()
    inputs = [*levels, *conv.parameters()]
    exact = plain(conv, levels, False)
    exact = [exact, *gradients(exact, inputs)]
    errors = []
    for how in (fused_conv, plain):
        with torch.autocast('cpu', torch.bfloat16):
            out = how(conv, levels, False)
        assert out.dtype == torch.bfloat16
        got = [out, *gradients(out.float(), inputs)]
        assert all(grad.dtype == torch.float32 for grad in got[1:])
        errors.append(
            [(a - b).norm() / b.norm() for a, b in zip(got, exact, strict=True)]
        )
    for error, stock_error in zip(*errors, strict=True):
        assert error < 1.5 * stock_error + 4e-3


def test_no_second_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, '_CHUNK', 1)
    levels = random_levels([(2, (6, 6)), (1, (3, 3))])
    conv = convolution(3, 3)
    for power in (1, 2):
        out = fused_conv(conv, levels, False).pow(power).sum()
        with pytest.raises(RuntimeError, match='only once'):
            torch.autograd.grad(out, levels, create_graph=True)


@pytest.mark.parametrize(
    ('channels', 'own', 'whole', 'pays'),
    [
        (512, 64, 128, True),  # UperNet's pyramid and its pooled maps
        (512, 16, 128, True),
        (512, 6, 16, True),
        (64, 8, 16, True),
        (64, 32, 64, False),  # interpolating costs as much as the convolution
        (512, 120, 128, False),
        (8, 64, 128, False),
    ],
)
def test_level_is_resized_where_products_would_cost_more(
    channels: int, own: int, whole: int, pays: bool
) -> None:
    x = torch.empty(1, channels, own, own, device='meta')
    with mock.patch.object(MODULE, '_PRODUCT_COST', 2.5):
        assert MODULE._pays(x, (whole, whole), 3) == pays


@pytest.mark.parametrize(('rows', 'images'), [(32, 16), (31, 1)])
def test_product_of_rows(rows: int, images: int) -> None:
    """PyTorch hands 1x1 convolutions to oneDNN from 16 images on, in one thread."""
    a, b = torch.randn(rows, 5), torch.randn(5, 7)
    seen = []
    with mock.patch.object(
        F, 'conv2d', side_effect=lambda x, w: seen.append(len(x)) or CONV(x, w)
    ):
        got = MODULE._product(a, b)
    torch.testing.assert_close(got, a @ b)
    assert seen == [images]


class _OtherConv(nn.Conv2d):
    """A subclass may compute anything."""


def hooked(register: str) -> nn.Conv2d:
    """A convolution that is fused but for a hook."""
    conv = nn.Conv2d(4, 3, 3, padding=1)
    getattr(conv, register)(lambda *args: None)
    return conv


@pytest.mark.parametrize(
    'conv',
    [
        nn.Conv2d(4, 3, 3, padding=1, stride=2),
        nn.Conv2d(4, 3, 1, stride=(1, 2)),
        nn.Conv2d(4, 3, 3, padding=1, dilation=2),
        nn.Conv2d(4, 3, 3, padding=2, dilation=2),
        nn.Conv2d(4, 2, 3, padding=1, groups=2),
        nn.Conv2d(4, 3, 3),
        nn.Conv2d(4, 3, 3, padding=(1, 0)),
        nn.Conv2d(4, 3, 3, padding='same'),
        nn.Conv2d(4, 3, 1, padding=1),
        nn.Conv2d(4, 3, (3, 1), padding=(1, 0)),
        nn.Conv2d(4, 3, 5, padding=2),
        nn.Conv2d(4, 3, 3, padding=1, padding_mode='reflect'),
        nn.Conv2d(4, 3, 3, padding=1, padding_mode='circular'),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 3, padding=1)),
        nn.utils.spectral_norm(nn.Conv2d(4, 3, 3, padding=1)),
        hooked('register_forward_hook'),
        hooked('register_forward_pre_hook'),
        hooked('register_full_backward_hook'),
        hooked('register_full_backward_pre_hook'),
        _OtherConv(4, 3, 3, padding=1),
        nn.ConvTranspose2d(4, 3, 3, padding=1),
        nn.Identity(),
    ],
    ids=str,
)
def test_other_convolutions_are_refused(conv: nn.Module) -> None:
    assert not can_fuse(conv)


@pytest.mark.parametrize('kernel', [1, 3])
@pytest.mark.parametrize('bias', [True, False])
def test_plain_convolutions_are_not(kernel: int, bias: bool) -> None:
    assert can_fuse(convolution(4, kernel, bias))
