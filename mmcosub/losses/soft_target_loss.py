"""Distillation losses that store only the logits for the backward pass.

Autograd would store the student's log-probabilities, the teacher's probabilities and,
in half precision, float32 copies of both logits, each as large as the logits. Since the
gradient is a difference of two probabilities, the backward pass here computes it from
the logits, a chunk at a time.

Shapes: ``B`` samples, ``C`` classes, ``N`` positions of a sample.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .first_derivative import first_derivative_only

# Logits per chunk; on a CPU, about the size of a core's cache.
_CHUNK = {'cpu': 2**19, 'cuda': 2**26}


def soft_target_loss(
    student: Tensor, teacher: Tensor, name: str, temperature: float
) -> Tensor:
    """Return the loss of a student's logits against a teacher's, per position.

    It has a first derivative, with respect to the student only.

    Args:
        student (Tensor): Logits of shape (B, C, *).
        teacher (Tensor): Logits of the same shape.
        name (str): 'ce', 'kl' or 'bce'; see ``mmcosub.losses`` for the formulas.
        temperature (float): Temperature above 0.

    Returns:
        Tensor: Of shape (B, *), in float32 at least.
    """
    return _SoftTargetLoss.apply(student, teacher.detach(), name, temperature)


class _SoftTargetLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, name: str, temperature: float
    ) -> Tensor:
        ctx.loss_name, ctx.temperature = name, temperature
        ctx.save_for_backward(student, teacher)
        dtype = torch.promote_types(student.dtype, torch.float32)
        loss = student.new_empty(student[:, 0].shape, dtype=dtype)
        flat = loss.view(len(loss), -1)
        for part, s, t in _chunks(student, teacher, dtype, temperature):
            flat[part] = _values(s, t, name) * temperature**2
        return loss

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        student, teacher = ctx.saved_tensors
        result = torch.empty_like(student, memory_format=torch.contiguous_format)
        flat = result.view(*result.shape[:2], -1)
        above = grad.reshape(len(grad), -1) * ctx.temperature
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
    s, t = (z.reshape(*z.shape[:2], -1) for z in (student, teacher))
    batch, classes, places = s.shape
    budget = max(_CHUNK.get(s.device.type, _CHUNK['cuda']) // max(classes, 1), 1)
    length = min(places, budget)
    together = max(budget // max(places, 1), 1)
    for i in range(0, batch, together):
        for j in range(0, places, max(length, 1)):
            part = slice(i, i + together), slice(j, j + length)
            where = part[0], slice(None), part[1]
            yield (
                part,
                s[where].to(dtype) / temperature,
                t[where].to(dtype) / temperature,
            )
