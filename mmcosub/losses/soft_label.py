"""Distillation losses of a student's logits against a teacher's, per position.

They have a first derivative only, and store only the logits for the backward pass.
Autograd would store the student's log-probabilities, the teacher's probabilities and,
in half precision, float32 copies of both logits, each as large as the logits. Since the
gradient is a difference of two probabilities, the backward pass here computes it from
the logits, a chunk at a time.

Shapes: ``B`` samples, ``C`` classes, ``*`` positions: none for an image's class, (H, W)
for a label map.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits per chunk; on a CPU, about the size of a core's cache.
_CHUNK = {'cpu': 2**19, 'cuda': 2**26}


def soft_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Cross-entropy against the teacher's softmax.

    .. math:: -T^2 \sum_c \sigma(z^t / T)_c \log \sigma(z^s / T)_c

    For recipes with the softmax cross-entropy, as in the abstract of cosub (arXiv
    2212.04884). The temperature, and its square that preserves the size of the
    gradient, are Hinton's (arXiv 1503.02531); cosub has T = 1.

    Args:
        student (Tensor): Logits of shape (B, C, *).
        teacher (Tensor): Logits of shape (B, C, *), detached.
        temperature (float): Temperature T > 0. Defaults to 1.

    Returns:
        Tensor: Loss of shape (B, *), at least in float32.

    Examples:
        >>> soft_cross_entropy(torch.zeros(1, 2), torch.tensor([[0.0, 9.0]]))
        tensor([0.6931])
    """
    return _SoftLoss.apply(student, teacher.detach(), 'ce', temperature)


def soft_binary_cross_entropy(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Mean over classes of the binary cross-entropy against the teacher's sigmoid.

    .. math:: \frac{T^2}{C} \sum_c BCE(z^s_c / T, sigmoid(z^t_c / T))

    The loss of cosub's published code, which has T = 1 and does not binarise targets.
    Arguments and result are those of :func:`soft_cross_entropy`.
    """
    return _SoftLoss.apply(student, teacher.detach(), 'bce', temperature)


def soft_kl_divergence(
    student: Tensor, teacher: Tensor, temperature: float = 1.0
) -> Tensor:
    r"""Kullback-Leibler divergence from the student's softmax to the teacher's.

    .. math:: T^2 \sum_c p_c \log \frac{p_c}{\sigma(z^s / T)_c}, \quad
        p = \sigma(z^t / T)

    Same gradients as the soft cross-entropy, 0 where the two agree (Hinton's
    distillation, arXiv 1503.02531). Arguments and result are those of
    :func:`soft_cross_entropy`.
    """
    return _SoftLoss.apply(student, teacher.detach(), 'kl', temperature)


SOFT_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    'ce': soft_cross_entropy,
    'bce': soft_binary_cross_entropy,
    'kl': soft_kl_divergence,
}


def weighted_mean(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return the mean of values (B, *) by weights of 0 or more, of the same shape.

    Without weights, all are equal. The mean is 0 if all weights are 0. It is at least
    in float32, as a float16 has no sum of more than 65,504 positions.
    """
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if weight is None:
        return values.mean()
    weight = weight.to(values.dtype)
    tiny = torch.finfo(values.dtype).tiny
    return (values * weight).sum() / weight.sum().clamp_min(tiny)


def first_derivative_only(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate the ``backward`` of an autograd function to raise under create_graph.

    ``once_differentiable`` does not, where the incoming gradient needs none.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(
                'This computation can be differentiated only once: train without '
                'create_graph=True. Heads and attention have second derivatives '
                'without `fast`.'
            )
        return backward(ctx, *grads)

    return wrapper


class _SoftLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, name: str, temperature: float
    ) -> Tensor:
        if teacher.shape != student.shape:
            raise ValueError(
                f'Logits of shape {(*student.shape,)} and {(*teacher.shape,)}: resize '
                'those of the student or the teacher, so that both have one shape.'
            )
        ctx.loss_name, ctx.temperature = name, temperature
        ctx.save_for_backward(student, teacher)
        dtype = torch.promote_types(student.dtype, torch.float32)
        loss = student.new_empty(student[:, 0].shape, dtype=dtype)
        flat = loss.view(len(loss), math.prod(loss.shape[1:]))
        for part, s, t in _chunks(student, teacher, dtype, temperature):
            flat[part] = _values(s, t, name) * temperature**2
        return loss

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        student, teacher = ctx.saved_tensors
        result = torch.empty_like(student, memory_format=torch.contiguous_format)
        flat = result.view(*result.shape[:2], math.prod(result.shape[2:]))
        above = grad.reshape(len(flat), flat.shape[2]) * ctx.temperature
        if ctx.loss_name == 'bce':
            above = above / student.shape[1]
        chunks = _chunks(student, teacher, grad.dtype, ctx.temperature)
        for (samples, positions), s, t in chunks:
            if ctx.loss_name == 'bce':
                d = s.sigmoid() - t.sigmoid()
            else:
                d = s.softmax(dim=1) - t.softmax(dim=1)
            flat[samples, :, positions] = d * above[samples, None, positions]
        return result, None, None, None


def _values(student: Tensor, teacher: Tensor, name: str) -> Tensor:
    if name == 'bce':
        return F.binary_cross_entropy_with_logits(
            student, teacher.sigmoid(), reduction='none'
        ).mean(dim=1)
    given = student.log_softmax(dim=1)
    if name == 'ce':
        return -(teacher.softmax(dim=1) * given).sum(dim=1)
    target = teacher.log_softmax(dim=1)
    return F.kl_div(given, target, reduction='none', log_target=True).sum(dim=1)


def _chunks(
    student: Tensor, teacher: Tensor, dtype: torch.dtype, temperature: float
) -> Iterator[tuple[tuple[slice, slice], Tensor, Tensor]]:
    """Yield the samples and positions of each chunk, and its logits / temperature."""
    batch, classes, places = (*student.shape[:2], math.prod(student.shape[2:]))
    s, t = (z.reshape(batch, classes, places) for z in (student, teacher))
    budget = max(_CHUNK.get(s.device.type, _CHUNK['cuda']) // max(classes, 1), 1)
    length = max(min(places, budget), 1)
    together = max(budget // max(places, 1), 1)
    for i in range(0, batch, together):
        for j in range(0, places, length):
            part = slice(i, i + together), slice(j, j + length)
            where = part[0], slice(None), part[1]
            x, y = (z[where].to(dtype) / temperature for z in (s, t))
            yield part, x, y
