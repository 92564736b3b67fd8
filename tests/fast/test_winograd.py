"""Convolutions by Winograd's algorithm are those of PyTorch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmcosub.fast.winograd import can_winograd, winograd_conv

GLOBALS = winograd_conv.__globals__


def data(
    batch: int, channels: int, outputs: int, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, channels, *size, generator=generator).double()
    weight = torch.randn(outputs, channels, 3, 3, generator=generator).double()
    return x.requires_grad_(), weight.requires_grad_()


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    outputs=st.integers(1, 4),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    tiles=st.sampled_from([1, 5, 256]),
)
def test_as_the_direct_way(batch, channels, outputs, size, layout, tiles) -> None:
    inputs = data(batch, channels, outputs, size)
    expected = F.conv2d(*inputs, padding=1)
    grad = torch.randn_like(expected).contiguous(memory_format=layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(GLOBALS, '_TILES', tiles)
        x = inputs[0].contiguous(memory_format=layout)
        got = winograd_conv(x, inputs[1])
        got_grads = torch.autograd.grad(got, inputs, grad)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    for a, b in zip(
        got_grads, torch.autograd.grad(expected, inputs, grad), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('part', [0, 1])
def test_gradient_of_one_alone(part: int) -> None:
    inputs = data(2, 3, 2, (6, 9))
    expected = F.conv2d(*inputs, padding=1).sin().sum()
    (expected_grad,) = torch.autograd.grad(expected, inputs[part])
    inputs[1 - part].requires_grad_(False)
    (grad,) = torch.autograd.grad(winograd_conv(*inputs).sin().sum(), inputs[part])
    torch.testing.assert_close(grad, expected_grad)


def test_precision() -> None:
    """As far from the truth as is said, with as many channels as in heads."""
    x, weight = (t.detach() for t in data(1, 512, 8, (24, 24)))
    exact = F.conv2d(x, weight, padding=1)
    got = winograd_conv(x.float(), weight.float())
    assert (got - exact).abs().max() < 1e-5 * exact.abs().max()


def test_in_place_behind_it() -> None:
    inputs = data(1, 2, 3, (5, 6))
    expected = F.conv2d(*inputs, padding=1).relu()
    got = winograd_conv(*inputs).relu_()
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(
        torch.autograd.grad(got.sum(), inputs),
        torch.autograd.grad(expected.sum(), inputs),
    )


def test_no_second_derivative() -> None:
    inputs = data(1, 2, 3, (5, 6))
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(winograd_conv(*inputs).sum(), inputs, create_graph=True)


def test_where_it_is_for() -> None:
    x, weight = torch.zeros(1, 256, 64, 64), torch.zeros(256, 256, 3, 3)
    assert can_winograd(x, weight)
    assert not can_winograd(x[:, :, :32], weight)  # too few tiles
    assert can_winograd(x[:, :, :32].expand(2, -1, -1, -1), weight)
    assert not can_winograd(x, weight[:255])
    assert not can_winograd(x, weight[..., :1, :1])
    assert not can_winograd(x.half(), weight.half())
    assert not can_winograd(x.to('meta'), weight.to('meta'))
    with torch.autocast('cpu', torch.bfloat16):
        assert not can_winograd(x, weight)
