"""Attention inside windows, directly on the tokens of the feature map.

Shapes: ``B`` images, ``L`` tokens, ``C`` channels, ``M`` heads of ``D`` channels, ``n``
windows per image, ``N`` tokens per window, ``W`` windows per chunk.

Upstream pads, rolls and partitions the map, and holds the attention weights of all
windows in memory several times. On a CPU, memory traffic takes as long as the
arithmetic. Here a few windows at a time go through all steps within the cache. As in
FlashAttention, the backward pass recomputes the weights. It also sums the gradient of
the relative position bias, which PyTorch's fused CPU kernels do not.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcosub.losses.soft_label import first_derivative_only

from .window_layout import WindowLayout

# Elements of attention weights per chunk and thread, measured: 1 MB of float32.
_CHUNK = 2**18


def window_attention(
    qkv: Tensor,
    outside: Tensor | None,
    bias: Tensor,
    layout: WindowLayout,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Return multi-head attention inside windows of a feature map, (B, L, C).

    ``qkv`` holds queries, keys and values of the map's tokens, (B, L, 3 * C), and
    ``outside`` those of padding, (3 * C,), or None without padding. ``bias`` is the
    relative position bias, (M, N, N); ``dropout`` the rate of attention weights.
    """
    if qkv.device.type == 'cpu' and not dropout:
        return _WindowAttention.apply(qkv, outside, bias, layout, scale)
    return _by_kernel(qkv, outside, bias, layout, scale, dropout)


def _by_kernel(
    qkv: Tensor,
    outside: Tensor | None,
    bias: Tensor,
    layout: WindowLayout,
    scale: float,
    dropout: float,
) -> Tensor:
    """Run the device's fused kernel on all windows at once.

    Windows are treated as heads, so that all images share one mask, whose gradient is a
    sum and no serial scatter.
    """
    B, L, channels = qkv.shape
    M, N, _ = bias.shape
    D = channels // (3 * M)
    places = layout.tokens.flatten()
    x = qkv.reshape(B, L, 3, M, D).permute(2, 0, 3, 1, 4)
    x = x.index_select(3, places.clamp(max=L - 1))
    if outside is not None:
        beyond = outside.to(x.dtype).view(3, 1, M, 1, D)
        x = torch.where(places.view(-1, 1) == L, beyond, x)
    q, k, v = x.view(3, B, M * len(layout.tokens), N, D)
    mask = bias[:, None] + layout.masks.index_select(0, layout.kinds)
    mask = mask.flatten(0, 1)[None].to(x.dtype)
    if B:
        x = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
    else:  # PyTorch's kernel gives the bias no gradient for an empty batch
        x = (q @ k.transpose(-2, -1) + mask) @ v
    x = x.reshape(B, M, len(places), D).transpose(1, 2)
    return x.index_select(1, layout.places).flatten(2)


class _WindowAttention(torch.autograd.Function):
    """Attention of a few windows at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        outside: Tensor | None,
        bias: Tensor,
        layout: WindowLayout,
        scale: float,
    ) -> Tensor:
        ctx.save_for_backward(qkv, outside, bias)
        ctx.layout, ctx.scale = layout, scale
        B, L, channels = qkv.shape
        # One extra row, for padding.
        out = qkv.new_empty(B * L + 1, channels // 3)
        work = _Workspace()
        for chunk in _chunks(qkv, outside, bias, layout, scale, work):
            x = work('out', chunk.v.dtype, *chunk.v.shape)
            torch.bmm(chunk.weights, chunk.v, out=x)
            rows = _as_rows(x[None], len(bias), work, out.dtype)
            out.index_copy_(0, chunk.rows, rows)
        return out[:-1].view(B, L, channels // 3)

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, outside, bias = ctx.saved_tensors
        B, L, channels = qkv.shape
        M, N, _ = bias.shape
        dtype = torch.promote_types(qkv.dtype, torch.float32)  # half is for storage
        grad = grad.reshape(B * L, channels // 3)
        grad_qkv = qkv.new_empty(B * L + 1, channels)
        grad_outside = None if outside is None else outside.new_zeros(channels)
        grad_bias = bias.new_zeros(bias.shape, dtype=dtype)
        work = _Workspace()
        for chunk in _chunks(qkv, outside, bias, ctx.layout, ctx.scale, work):
            q, k, v, weights = chunk.q, chunk.k, chunk.v, chunk.weights
            # Outputs of padding are dropped.
            g = _rows(grad, chunk.rows, chunk.outside, 0, work)
            (g,) = _as_heads(g, 1, M, N, work, dtype)
            grads = work('grads', dtype, 3, *q.shape)
            torch.bmm(weights.transpose(1, 2), g, out=grads[2])
            x = work('logits', dtype, *weights.shape)
            torch.bmm(g, v.transpose(1, 2), out=x)
            product = torch.mul(x, weights, out=work('product', dtype, *weights.shape))
            x.sub_(product.sum(-1, keepdim=True)).mul_(weights)
            grad_bias += x.view(-1, M, N, N).sum(0)
            torch.bmm(x, k, out=grads[0])
            torch.bmm(x.transpose(1, 2), q, out=grads[1])
            grads[:2] *= ctx.scale
            rows = _as_rows(grads, M, work, grad_qkv.dtype)
            if grad_outside is not None and chunk.outside is not None:
                grad_outside += rows[chunk.outside].sum(0)
            grad_qkv.index_copy_(0, chunk.rows, rows)
        grad_qkv = grad_qkv[:-1].view(B, L, channels)
        return grad_qkv, grad_outside, grad_bias.to(bias.dtype), None, None


class _Workspace:
    """Buffers reused by all chunks, as first access to new memory is slow."""

    def __init__(self) -> None:
        self._held: dict[tuple, Tensor] = {}

    def __call__(self, name: str, dtype: torch.dtype, *shape: int) -> Tensor:
        """Return an uninitialised tensor, valid until the next call with the name."""
        size = math.prod(shape)
        held = self._held.get((name, dtype))
        if held is None or held.numel() < size:
            held = self._held[name, dtype] = torch.empty(size, dtype=dtype)
        return held[:size].view(shape)


class _Chunk(NamedTuple):
    """Windows that are computed together."""

    rows: Tensor  # token index over all images, (W * N,); B * L in padding
    outside: Tensor | None  # mask of the padding in `rows`, if there is any
    q: Tensor  # q, k, v: (W * M, N, D)
    k: Tensor
    v: Tensor
    weights: Tensor  # attention weights, (W * M, N, N)


def _chunks(
    qkv: Tensor,
    outside: Tensor | None,
    bias: Tensor,
    layout: WindowLayout,
    scale: float,
    work: _Workspace,
) -> Iterator[_Chunk]:
    B, L, channels = qkv.shape
    M, N, _ = bias.shape
    dtype = torch.promote_types(qkv.dtype, torch.float32)
    tokens = qkv.reshape(B * L, channels)
    first = torch.arange(B).view(-1, 1, 1) * L
    all_rows = (layout.tokens + first).masked_fill_(layout.tokens == L, B * L)
    biases = (bias + layout.masks[:, None]).to(dtype)
    at_a_time = max(1, _CHUNK * torch.get_num_threads() // (M * N * N))
    for rows, kinds in zip(
        all_rows.view(-1, N).split(at_a_time),
        layout.kinds.repeat(B).split(at_a_time),
        strict=True,
    ):
        rows = rows.flatten()
        beyond = rows == B * L if outside is not None else None
        if beyond is not None and not beyond.any():
            beyond = None
        x = _rows(tokens, rows, beyond, outside, work)
        q, k, v = _as_heads(x, 3, M, N, work, dtype)
        logits = work('logits', dtype, len(kinds), M, N, N)
        torch.index_select(biases, 0, kinds, out=logits)
        logits = logits.view(-1, N, N).baddbmm_(q, k.transpose(1, 2), alpha=scale)
        weights = work('weights', dtype, *logits.shape)
        torch.softmax(logits, -1, out=weights)
        yield _Chunk(rows, beyond, q, k, v, weights)


def _rows(
    x: Tensor, rows: Tensor, beyond: Tensor | None, fill: Any, work: _Workspace
) -> Tensor:
    """Gather rows of a matrix, with ``fill`` where ``beyond`` is True."""
    found = work(f'rows {x.shape[1]}', x.dtype, len(rows), x.shape[1])
    if beyond is None:
        return torch.index_select(x, 0, rows, out=found)
    torch.index_select(x, 0, rows.masked_fill(beyond, 0), out=found)
    found[beyond] = fill
    return found


def _as_heads(
    x: Tensor, parts: int, M: int, N: int, work: _Workspace, dtype: torch.dtype
) -> Tensor:
    """Reshape (W * N, parts * C) to (parts, W * M, N, D), contiguous for bmm."""
    x = x.view(-1, N, parts, M, x.shape[1] // (parts * M)).permute(2, 0, 3, 1, 4)
    return work(f'heads {parts}', dtype, *x.shape).copy_(x).flatten(1, 2)


def _as_rows(x: Tensor, M: int, work: _Workspace, dtype: torch.dtype) -> Tensor:
    """Reshape (parts, W * M, N, D) to (W * N, parts * C)."""
    parts, _, N, D = x.shape
    x = x.view(parts, -1, M, N, D).permute(1, 3, 0, 2, 4)
    name = f'rows {parts * M * D}'
    return work(name, dtype, *x.shape).copy_(x).view(-1, parts * M * D)
