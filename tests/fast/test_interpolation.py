"""Resizing as matrix products is what F.interpolate does."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmcosub.fast.interpolation import (
    interpolation_blocks,
    interpolation_matrix,
    shifted_matrices,
)

CPU = torch.device('cpu')
EXACT = (torch.float64, CPU)

lengths = st.integers(1, 12)


def shifted(x: Tensor, shift: int, dim: int) -> Tensor:
    """Place i is place i + shift of x, or 0 outside."""
    out = torch.zeros_like(x)
    for i in range(x.shape[dim]):
        if 0 <= i + shift < x.shape[dim]:
            out.select(dim, i).copy_(x.select(dim, i + shift))
    return out


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(lengths, lengths),
    target=st.tuples(lengths, lengths),
    align_corners=st.booleans(),
    shifts=st.tuples(st.integers(-3, 3), st.integers(-3, 3)),
)
@example(source=(1, 1), target=(7, 1), align_corners=True, shifts=(0, 0))
@example(source=(4, 5), target=(1, 2), align_corners=True, shifts=(-2, 3))
def test_matrix(
    source: tuple[int, int],
    target: tuple[int, int],
    align_corners: bool,
    shifts: tuple[int, int],
) -> None:
    x = torch.randn(2, 3, *source, generator=torch.Generator().manual_seed(0)).double()
    down, across = (
        shifted_matrices(s, t, 7, align_corners, *EXACT).split(s, dim=1)[shift + 3]
        for s, t, shift in zip(source, target, shifts, strict=True)
    )
    assert down.shape == (target[0], source[0])
    expected = F.interpolate(x, target, mode='bilinear', align_corners=align_corners)
    expected = shifted(shifted(expected, shifts[0], 2), shifts[1], 3)
    torch.testing.assert_close(down @ x @ across.T, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_matrix_of_another_type_is_rounded_once(dtype: torch.dtype) -> None:
    shifted_matrices.cache_clear()
    with torch.autocast('cpu', torch.bfloat16):
        got = shifted_matrices(5, 13, 1, False, dtype, CPU)
    assert torch.equal(got, interpolation_matrix(5, 13, False).to(dtype))


@settings(max_examples=150, deadline=None)
@given(
    source=lengths,
    target=st.integers(1, 40),
    length=st.integers(1, 45),
    align_corners=st.booleans(),
)
@example(source=12, target=5, length=2, align_corners=False)
def test_blocks_make_up_the_matrix(
    source: int, target: int, length: int, align_corners: bool
) -> None:
    blocks = interpolation_blocks(source, target, length, align_corners, *EXACT)
    starts = [block.target.start for block in blocks]
    assert [*starts, target] == [0, *(block.target.stop for block in blocks)]
    whole = torch.zeros(target, source).double()
    for block in blocks:
        assert block.target.stop - block.target.start <= length
        whole[block.target, block.source] = block.matrix
        assert block.matrix[:, 0].any()
        assert block.matrix[:, -1].any()
    matrix = interpolation_matrix(source, target, align_corners)
    assert torch.equal(whole, matrix)


def test_made_in_inference_mode_and_used_in_training() -> None:
    shifted_matrices.cache_clear()
    interpolation_blocks.cache_clear()
    which = (False, torch.float32, CPU)
    with torch.inference_mode():
        made = shifted_matrices(3, 8, 1, *which)
        (block,) = interpolation_blocks(3, 8, 8, *which)
    x = torch.randn(2, 3, requires_grad=True)
    for matrix in (made, block.matrix):
        assert not matrix.requires_grad
        (grad,) = torch.autograd.grad((x @ matrix.T).sum(), x)
        torch.testing.assert_close(grad, matrix.sum(dim=0).expand(2, -1))
