"""A convolution over levels that would be upsampled and concatenated, for less.

Shapes: ``B`` images, ``C`` input and ``O`` output channels, ``h, w`` a level's own and
``H, W`` the common resolution, ``k`` the kernel size, 1 or 3.

A convolution over concatenated levels is the sum of one convolution a level. A tap of a
convolution is a 1x1 convolution of a shifted map, and a 1x1 convolution commutes with
bilinear resizing and shifting, as these act on every channel alike. So all taps of a
coarse level are applied at its own resolution, on h*w places instead of H*W; resizing
and shifting are one matrix product along each axis, with the interpolation matrix
shifted by -1, 0 and 1 row and zeros outside, which is the convolution's padding.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .first_derivative import OnlyOnce, first_derivative_only
from .interpolation import interpolation_matrix

# Elements of the taps' output at a time, which should stay in a CPU's cache. Where all
# are so few, one kernel after another over all images was 0.40 to 0.88 times as long.
_CHUNK = 2**22
_IMAGES = 16
# Time of a multiplication in a matrix product over that in a 3x3 convolution: 1.1 to
# 1.5 on an AMD EPYC under AVX2 and AVX-512 alike, 2.4 reported of another processor.
_PRODUCT_COST = 2.5


def fused_conv(
    conv: nn.Conv2d,
    levels: Sequence[Tensor],
    size: tuple[int, int],
    align_corners: bool | None,
) -> Tensor:
    """What ``conv(cat([resize(x, size) for x in levels], dim=1))`` computes.

    Args:
        conv (nn.Conv2d): One for which :func:`~mmcosub.ops.can_fuse` holds.
        levels (Sequence[Tensor]): Of shape (B, C, h, w) each, C and h, w their own.
        size (tuple[int, int]): H and W.
        align_corners (bool, optional): As of ``F.interpolate``.

    Returns:
        Tensor: Of shape (B, O, H, W).
    """
    weights = conv.weight.split([x.shape[1] for x in levels], dim=1)
    levels = [
        x
        if tuple(x.shape[2:]) == tuple(size) or _pays(x, size, conv.kernel_size[0])
        else F.interpolate(x, size, mode='bilinear', align_corners=align_corners)
        for x in levels
    ]
    fine = [i for i, x in enumerate(levels) if tuple(x.shape[2:]) == tuple(size)]
    coarse = [i for i in range(len(levels)) if i not in fine]
    if fine:
        x, weight = _cat([levels[i] for i in fine]), _cat([weights[i] for i in fine])
        total = F.conv2d(x, weight, conv.bias, padding=conv.padding)
    else:
        shape = (len(levels[0]), conv.out_channels, *size)
        dtype = _compute_dtype(conv.weight)
        total = conv.weight.new_zeros(shape, dtype=dtype)
        if conv.bias is not None:
            total = total + conv.bias[:, None, None].to(dtype)
    if not coarse:
        return total
    # Autocast as a convolution would have it, before the function that does not see it.
    maps = [levels[i].to(total.dtype) for i in coarse]
    parts = [*maps, *(weights[i].to(total.dtype) for i in coarse)]
    largest = max(x[:, 0].numel() for x in maps) * conv.weight[:, 0].numel()
    if total.device.type == 'cpu' and largest > _CHUNK:
        return _AddCoarse.apply(total.contiguous(), bool(align_corners), *parts)
    total, *parts = OnlyOnce.apply(total, *parts)
    for x, weight in zip(parts, parts[len(maps) :], strict=False):
        total = _add_at_once(total, x, weight, bool(align_corners))
    return total


def _pays(x: Tensor, size: tuple[int, int], k: int) -> bool:
    """True if a level costs less at its own resolution than resized.

    By multiplications an output channel: of the taps and of the two interpolations,
    which are matrix products, against those of the convolution.
    """
    _, C, h, w = x.shape
    H, W = size
    own = k * k * C * h * w + _PRODUCT_COST * (k * k * h * w * W + k * h * H * W)
    return own < k * k * C * H * W


def _add_at_once(
    total: Tensor, x: Tensor, weight: Tensor, align_corners: bool
) -> Tensor:
    """Add what a coarse level contributes, all images in one kernel after another.

    Less than the stock way has in memory at a time, at any batch: for a level of half
    the resolution 3.75 values a channel and place, against 7 for four levels upsampled
    and concatenated; and nothing of it is kept for the backward pass, as PyTorch keeps
    factors of what needs a gradient alone.
    """
    B, C, h, w = x.shape
    O, _, k, _ = weight.shape  # noqa: E741
    _, _, H, W = total.shape
    across, down = _shifted((h, w), (H, W), k, align_corners, x.dtype, x.device)
    taps = weight.permute(0, 2, 3, 1).reshape(O * k * k, C, 1, 1)
    y = F.conv2d(x, taps).view(B, O, k, k, h, w)  # output, row and column of the kernel
    y = y.transpose(3, 4).reshape(-1, k * w) @ across.T
    total, y = total.reshape(B * O, H, W), y.view(B * O, k * h, W)
    return torch.baddbmm(total, down.expand(B * O, -1, -1), y).view(B, O, H, W)


def _cat(parts: Sequence[Tensor]) -> Tensor:
    """Concatenated channels; a single one is not copied, as ``torch.cat`` would."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


class _AddCoarse(torch.autograd.Function):
    """Add what coarse levels contribute, a chunk of output channels at a time.

    On a CPU, that is. The taps' outputs, up to nine times a level, are never there in
    full, nor kept.
    """

    @staticmethod
    def forward(ctx: Any, total: Tensor, align_corners: bool, *parts: Tensor) -> Tensor:
        ctx.align_corners = align_corners
        ctx.save_for_backward(*parts)
        ctx.mark_dirty(total)
        size, levels = tuple(total.shape[2:]), len(parts) // 2
        with torch.autocast('cpu', enabled=False):
            for i, outputs, n in _chunks(total, parts):
                x, weight = parts[n], parts[levels + n][outputs]
                k, (h, w) = weight.shape[-1], x.shape[2:]
                which = (align_corners, x.dtype, x.device)
                across, down = _shifted((h, w), size, k, *which)
                columns = across.split(w, dim=1)
                # Taps in the order (column, output, row), so that nothing is copied.
                y = _product(_taps(weight), x[i].flatten(1))
                y = y.view(k, -1, w)
                z = y[0] @ columns[0].T
                for column in range(1, k):
                    z.addmm_(y[column], columns[column].T)
                z = z.view(len(weight), k * h, size[1])
                total[i, outputs].baddbmm_(down.expand(len(weight), -1, -1), z)
        return total

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        parts = ctx.saved_tensors
        grad = grad.contiguous()
        size, levels = tuple(grad.shape[2:]), len(parts) // 2
        # Contiguous, so that flattening below is a view.
        grads = [part.new_zeros(part.shape) for part in parts]
        with torch.autocast('cpu', enabled=False):
            for i, outputs, n in _chunks(grad, parts):
                x, weight = parts[n], parts[levels + n][outputs]
                k, (h, w) = weight.shape[-1], x.shape[2:]
                which = (ctx.align_corners, x.dtype, x.device)
                across, down = _shifted((h, w), size, k, *which)
                z = down.T.expand(len(weight), -1, -1) @ grad[i, outputs]
                z = z.view(-1, size[1])
                y = torch.stack([z @ column for column in across.split(w, dim=1)])
                y = y.view(-1, h * w)
                grads[n][i].flatten(1).add_(_product(_taps(weight).T, y))
                taps = _product(y, x[i].flatten(1).T).view(k, len(weight), k, -1)
                grads[levels + n][outputs] += taps.permute(1, 3, 2, 0)
        return grad, None, *grads


def _chunks(total: Tensor, parts: Sequence[Tensor]) -> Iterator[tuple[int, slice, int]]:
    """Image, output channels and level, in the order in which to compute them."""
    levels = len(parts) // 2
    largest = max(
        x[0, 0].numel() * weight[0, 0].numel()
        for x, weight in zip(parts[:levels], parts[levels:], strict=True)
    )
    length = max(_CHUNK // largest, 1)
    length -= length % _IMAGES if length > _IMAGES else 0  # for _product
    for i in range(len(total)):
        for start in range(0, total.shape[1], length):
            for n in range(levels):
                yield i, slice(start, min(start + length, total.shape[1])), n


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` as a 1x1 convolution with rows of ``a`` for pixels.

    That is oneDNN's, while the matrix product is MKL's, which is slower on processors
    other than Intel's: at 0.4 to 0.9 of the rate. In one thread PyTorch hands 1x1
    convolutions to oneDNN from 16 images on, so the rows are as many.
    """
    images = _IMAGES if len(a) % _IMAGES == 0 else 1
    # Channels last, as oneDNN tells it by the strides.
    pixels = a.reshape(images, 1, -1, a.shape[1]).permute(0, 3, 1, 2)
    out = F.conv2d(pixels, b.T[:, :, None, None])
    return out.permute(0, 2, 3, 1).reshape(len(a), -1)


def _taps(weight: Tensor) -> Tensor:
    """Weight (O, C, k, k) as a matrix of k*O*k taps, of shape (k * O * k, C)."""
    return weight.permute(3, 0, 2, 1).reshape(-1, weight.shape[1])


@lru_cache(maxsize=256)  # asked for once a chunk
@torch.inference_mode(False)
@torch.no_grad()
def _shifted(
    shape: tuple[int, int],
    size: tuple[int, int],
    k: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """The k shifted matrices side by side: (W, k * w) across and (H, k * h) down."""
    shifts = range(-(k // 2), k // 2 + 1)
    which = (align_corners, dtype, device)
    across = [interpolation_matrix(shape[1], size[1], *which, s) for s in shifts]
    down = [interpolation_matrix(shape[0], size[0], *which, s) for s in shifts]
    return torch.cat(across, dim=1), torch.cat(down, dim=1)


def _compute_dtype(x: Tensor) -> torch.dtype:
    """The type a convolution would have here."""
    kind = x.device.type
    return (
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    )
