"""The cross-entropy by tiles is that of the resized logits."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmcosub.fast.resized_cross_entropy import resized_cross_entropy

MODULE: Any = import_module('mmcosub.fast.resized_cross_entropy')

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def plain(
    logits: Tensor,
    labels: Tensor,
    align_corners: bool = False,
    class_weight: Tensor | None = None,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """The same at the label map's resolution."""
    resized = F.interpolate(
        logits, labels.shape[1:], mode='bilinear', align_corners=align_corners
    )
    total = F.cross_entropy(
        resized, labels, class_weight, ignore_index=ignore_index, reduction='sum'
    )
    right = (resized.argmax(dim=1) == labels) & (labels != ignore_index)
    return total, right.sum()


def data(
    batch: int = 2,
    classes: int = 5,
    size: tuple[int, int] = (5, 7),
    target: tuple[int, int] = (18, 25),
    ignored: float = 0.2,
    ignore_index: int = 255,
) -> tuple[Tensor, Tensor]:
    """Random logits in float64, and labels a part of which is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(batch, classes, *size, generator=generator).double() * 3
    labels = torch.randint(classes, (batch, *target), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < ignored] = ignore_index
    return logits.requires_grad_(), labels


@contextmanager
def tiles(elements: int, width: int) -> Iterator[None]:
    """Tiles of at most so many logits, or one row, and of at most this width."""
    with (
        mock.patch.object(MODULE, '_TILE', elements),
        mock.patch.object(MODULE, '_TILE_WIDTH', width),
    ):
        yield


@settings(max_examples=200, deadline=None)
@given(
    batch=st.integers(1, 3),
    classes=st.integers(1, 7),
    size=sizes,
    target=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    align_corners=st.booleans(),
    weighted=st.booleans(),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    ignore_index=st.sampled_from([255, -100, 0, 2]),
    elements=st.sampled_from([1, 30, 200, 2**19]),
    width=st.sampled_from([1, 4, 128]),
)
@example(2, 5, (5, 7), (18, 21), True, True, 0.3, 255, 200, 4)
@example(1, 3, (9, 8), (4, 3), False, False, 0.3, 0, 30, 2)
@example(2, 4, (6, 9), (6, 9), False, True, 0.3, 0, 30, 4)
@example(2, 4, (6, 9), (6, 9), True, False, 0.3, 255, 2**19, 128)
def test_as_of_resized_logits(
    batch: int,
    classes: int,
    size: tuple[int, int],
    target: tuple[int, int],
    align_corners: bool,
    weighted: bool,
    ignored: float,
    ignore_index: int,
    elements: int,
    width: int,
) -> None:
    logits, labels = data(batch, classes, size, target, ignored, ignore_index)
    weight = torch.linspace(0, 1.7, classes).double() if weighted else None
    args = (logits, labels, align_corners, weight, ignore_index)
    expected, expected_right = plain(*args)
    before = logits.detach().clone()
    with tiles(elements, width):
        got, right = resized_cross_entropy(*args)
    assert torch.equal(logits, before)
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
    assert right.item() == expected_right.item()
    assert not right.requires_grad
    torch.testing.assert_close(
        *(torch.autograd.grad(out, logits)[0] for out in (got, expected)),
        rtol=1e-10,
        atol=1e-11,
    )


@pytest.mark.parametrize(
    ('elements', 'width', 'rows', 'columns'),
    [(1, 4, 18, 7), (150, 10, 6, 3), (2**19, 128, 1, 1)],
)
def test_tiles_are_as_small_as_asked(
    elements: int, width: int, rows: int, columns: int
) -> None:
    with tiles(elements, width):
        cut = MODULE._tiles(*data(), False)
    assert len({row.target.start for _, row, _ in cut}) == rows
    assert len({column.target.start for _, _, column in cut}) == columns
    images = 1 if rows == columns == 1 else 2  # all at once where all fit one tile
    assert len(cut) == images * rows * columns


def test_gradient_is_scaled_by_what_comes_from_above() -> None:
    logits, labels = data()
    (expected,) = torch.autograd.grad(plain(logits, labels)[0], logits)
    total, _ = resized_cross_entropy(logits, labels)
    for scale in (3, -0.5):  # the second, of the same graph, finds nothing changed
        (grad,) = torch.autograd.grad(total * scale, logits, retain_graph=True)
        torch.testing.assert_close(grad, scale * expected)


@pytest.mark.parametrize('how', [torch.no_grad, torch.inference_mode, Tensor.detach])
def test_without_gradient(how: Any) -> None:
    logits, labels = data()
    expected = plain(logits, labels)
    if how is Tensor.detach:
        total, right = resized_cross_entropy(logits.detach(), labels)
    else:
        with how():
            total, right = resized_cross_entropy(logits, labels)
    assert not total.requires_grad
    torch.testing.assert_close(total, expected[0].detach())
    assert right.item() == expected[1].item()


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_in_float32_at_least(dtype: torch.dtype, autocast: bool) -> None:
    exact, labels = data()
    logits = exact.detach().to(dtype).requires_grad_()
    weight = torch.linspace(0.5, 2, 5, dtype=dtype)
    expected, right = plain(logits.float(), labels, False, weight.float())
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast), tiles(150, 10):
        got = resized_cross_entropy(logits, labels, False, weight)
    assert got[0].dtype == torch.float32
    torch.testing.assert_close(got[0], expected, rtol=1e-5, atol=0)
    assert got[1].item() == right.item()
    grads = [torch.autograd.grad(out, logits)[0] for out in (got[0], expected)]
    assert grads[0].dtype == dtype
    torch.testing.assert_close(*grads)


def test_any_memory_layout() -> None:
    logits, labels = data()
    expected, right = plain(logits, labels)
    (expected_grad,) = torch.autograd.grad(expected, logits)
    others = (
        logits.to(memory_format=torch.channels_last),
        logits.transpose(2, 3).contiguous().transpose(2, 3),
    )
    turned = labels.transpose(1, 2).contiguous().transpose(1, 2)
    for other in others:
        assert not other.is_contiguous()
        got = resized_cross_entropy(other, turned)
        torch.testing.assert_close(got[0], expected)
        assert got[1].item() == right.item()
        (grad,) = torch.autograd.grad(got[0], logits, retain_graph=True)
        torch.testing.assert_close(grad, expected_grad)


def test_large_logits_do_not_overflow() -> None:
    logits, labels = data()
    logits = (logits.detach() * 1e3).requires_grad_()
    got, expected = (f(logits, labels)[0] for f in (resized_cross_entropy, plain))
    torch.testing.assert_close(got, expected)
    grads = [torch.autograd.grad(out, logits)[0] for out in (got, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('label', [5, -1])
def test_label_out_of_range(label: int) -> None:
    logits, labels = data()
    labels[1, 2, 3] = label
    with pytest.raises(RuntimeError, match='out of bounds'):
        resized_cross_entropy(logits, labels)


@pytest.mark.parametrize('power', [1, 2])
def test_no_second_derivative(power: int) -> None:
    logits, labels = data()
    total = resized_cross_entropy(logits, labels)[0] ** power
    with pytest.raises(RuntimeError, match='only once'):
        torch.autograd.grad(total, logits, create_graph=True)
