import math

import pytest
import torch

from mmcosub.losses import (
    SOFT_LOSSES,
    soft_binary_cross_entropy,
    soft_cross_entropy,
    weighted_mean,
)

SHAPES = [(2, 3), (2, 3, 4, 5)]


def reference(kind, student, teacher, temperature):
    """The losses from their formulas, class by class."""
    s, t = student / temperature, teacher / temperature
    if kind in ('ce', 'kl'):
        p = t.exp() / t.exp().sum(1, keepdim=True)
        q = s.exp() / s.exp().sum(1, keepdim=True)
        entropy = -(p * p.log()).sum(1) if kind == 'kl' else 0
        return (-(p * q.log()).sum(1) - entropy) * temperature**2
    p, q = 1 / (1 + (-t).exp()), 1 / (1 + (-s).exp())
    return -(p * q.log() + (1 - p) * (1 - q).log()).mean(1) * temperature**2


@pytest.mark.parametrize('kind', SOFT_LOSSES)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('temperature', [1.0, 2.5])
def test_reference(kind, shape, temperature):
    torch.manual_seed(0)
    teacher = torch.randn(shape, dtype=torch.float64)
    student = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    other = student.detach().clone().requires_grad_()
    loss = SOFT_LOSSES[kind](student, teacher, temperature)
    expected = reference(kind, other, teacher, temperature)
    assert loss.shape == (shape[0], *shape[2:])
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    weight = torch.rand_like(loss)
    (loss * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(student.grad, other.grad, rtol=1e-12, atol=1e-12)


def test_by_hand():
    even, sure = torch.zeros(1, 2), torch.tensor([[0.0, 50.0]])
    assert soft_cross_entropy(even, sure).item() == pytest.approx(math.log(2))
    assert soft_cross_entropy(sure, even).item() == pytest.approx(25)
    assert soft_binary_cross_entropy(even, sure).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize('loss', SOFT_LOSSES.values())
def test_no_gradient_to_the_teacher(loss):
    student = torch.randn(2, 3, requires_grad=True)
    teacher = torch.randn(2, 3, requires_grad=True)
    loss(student, teacher, 1.0).sum().backward()
    assert teacher.grad is None
    assert student.grad.any()


@pytest.mark.parametrize('loss', SOFT_LOSSES.values())
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(loss, dtype):
    z = torch.randn(2, 150, 4, 4, dtype=dtype)
    assert loss(z, -z, 1.0).dtype == torch.float32
    torch.testing.assert_close(loss(z, -z, 1.0), loss(z.float(), -z.float(), 1.0))


@pytest.mark.parametrize(
    ('kind', 'value', 'slope'), [('ce', 2e4, 1.0), ('kl', 2e4, 1.0), ('bce', 1e4, 0.5)]
)
def test_extreme_logits(kind, value, slope):
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = SOFT_LOSSES[kind](student, torch.tensor([[-1e4, 1e4]]), 1.0)
    loss.sum().backward()
    assert loss.item() == pytest.approx(value)
    assert student.grad.tolist() == [[slope, -slope]]


def test_weighted_mean():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert weighted_mean(values) == 2.5
    assert weighted_mean(values, torch.tensor([[1.0, 0.0], [0.5, 0.0]])) == 2.5 / 1.5
    assert weighted_mean(values, torch.zeros(2, 2)) == 0
    many = torch.ones(8, 128, 128, dtype=torch.float16)
    assert weighted_mean(many, many) == 1


@pytest.mark.parametrize('loss', SOFT_LOSSES.values())
@pytest.mark.parametrize('shape', SHAPES)
def test_no_samples(loss, shape):
    student = torch.randn(0, *shape[1:], requires_grad=True)
    values = loss(student, torch.randn(0, *shape[1:]), 1.0)
    assert values.shape == (0, *shape[2:])
    values.sum().backward()
    assert student.grad.shape == student.shape


@pytest.mark.parametrize('shape', [(2, 3, 6, 6), (2, 1, 4, 9)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 9\) and \(2'):
        soft_cross_entropy(torch.randn(2, 3, 4, 9), torch.randn(shape))
