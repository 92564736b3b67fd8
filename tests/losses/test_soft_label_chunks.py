"""Losses against a soft target, compared with autograd over the formulas."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmcosub.losses.soft_label import _CHUNK, SOFT_LOSSES

KINDS = ['ce', 'kl', 'bce']


def plain(kind: str, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """What autograd differentiates."""
    s, t = student / temperature, teacher.detach() / temperature
    if kind == 'bce':
        loss = F.binary_cross_entropy_with_logits(s, t.sigmoid(), reduction='none')
        return loss.mean(dim=1) * temperature**2
    if kind == 'ce':
        loss = F.cross_entropy(s, t.softmax(dim=1), reduction='none')
    else:
        loss = F.kl_div(s.log_softmax(dim=1), t.softmax(dim=1), reduction='none').sum(
            dim=1
        )
    return loss * temperature**2


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_CHUNK, 'cpu', 12)


@settings(max_examples=100, deadline=None)
@given(
    batch=st.integers(1, 4),
    classes=st.integers(1, 7),
    places=st.lists(st.integers(1, 5), max_size=2),
    kind=st.sampled_from(KINDS),
    temperature=st.sampled_from([1.0, 0.5, 3.0]),
    channels_last=st.booleans(),
)
def test_values_and_gradients(
    batch: int,
    classes: int,
    places: list[int],
    kind: str,
    temperature: float,
    channels_last: bool,
) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = [batch, classes, *places]
    both = torch.randn(2, *shape, generator=generator, dtype=torch.float64) * 3
    if channels_last:
        both = both.movedim(2, -1).contiguous().movedim(-1, 2)
    weight = torch.rand(batch, *places, generator=generator, dtype=torch.float64)
    results = []
    for loss in (SOFT_LOSSES[kind], partial(plain, kind)):
        student = both[0].detach().requires_grad_()
        value = loss(student, both[1], temperature)
        assert value.shape == weight.shape
        results.append((value, *torch.autograd.grad((value * weight).sum(), student)))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_only_the_logits_are_kept(kind: str, dtype: torch.dtype) -> None:
    student = torch.randn(2, 5, 3, 4, dtype=dtype, requires_grad=True)
    teacher = torch.randn(2, 5, 3, 4, dtype=dtype)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x.data_ptr()) or x, lambda x: x
    ):
        loss = SOFT_LOSSES[kind](student, teacher, 1.0)
    assert kept == [student.data_ptr(), teacher.data_ptr()]
    loss.sum().backward()
    assert student.grad is not None
    assert student.grad.dtype == dtype


def test_second_derivative_is_refused() -> None:
    student = torch.randn(2, 3, requires_grad=True)
    loss = SOFT_LOSSES['ce'](student, torch.randn(2, 3), 1.0).sum()
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(loss, student, create_graph=True)
