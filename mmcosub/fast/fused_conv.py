"""Faster convolution over upsampled and concatenated feature levels.

Shapes: ``B`` images, ``C`` input and ``O`` output channels, ``h, w`` a level's own and
``H, W`` the common resolution, ``k`` the kernel size, 1 or 3.

A convolution over concatenated levels is the sum of one convolution per level. A kernel
tap is a 1x1 convolution of a shifted map, and a 1x1 convolution commutes with bilinear
resizing and shifting, which treat all channels equally. So all taps of a coarse level
run at its own resolution, on h*w pixels instead of H*W. Resizing and shifting are one
matrix product along each axis, with the interpolation matrix shifted by -1, 0 and 1
row. Zeros outside are the padding of the convolution.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmcosub.losses.soft_label import first_derivative_only

from .interpolation import shifted_matrices

# Elements of the taps' output per chunk, to stay in a CPU's cache. Below this size, one
# kernel after another over all images took 0.40 to 0.88 times as long.
_CHUNK = 2**22
_IMAGES = 16
# Time of a multiplication in a matrix product over that in a 3x3 convolution: 1.1 to
# 1.5 on an AMD EPYC under AVX2 and AVX-512 alike, 2.4 reported of another processor.
_PRODUCT_COST = 2.5


def fused_conv(
    conv: nn.Conv2d, levels: Sequence[Tensor], align_corners: bool | None
) -> Tensor:
    """Return ``conv(cat([resize(x, (H, W)) for x in levels], dim=1))``.

    Args:
        conv (nn.Conv2d): One for which ``can_fuse`` holds.
        levels (Sequence[Tensor]): Of shape (B, C, h, w) each, C and h, w their own. The
            first one has H and W.
        align_corners (bool, optional): As of ``F.interpolate``.

    Returns:
        Tensor: Of shape (B, O, H, W).
    """
    size = levels[0].shape[2:]
    weights = conv.weight.split([x.shape[1] for x in levels], dim=1)
    levels = [
        x
        if x.shape[2:] == size or _pays(x, size, conv.kernel_size[0])
        else F.interpolate(x, size, mode='bilinear', align_corners=align_corners)
        for x in levels
    ]
    fine = [i for i, x in enumerate(levels) if x.shape[2:] == size]
    coarse = [i for i in range(len(levels)) if i not in fine]
    x, weight = _cat([levels[i] for i in fine]), _cat([weights[i] for i in fine])
    total = F.conv2d(x, weight, conv.bias, padding=conv.padding)
    if not coarse:
        return total
    # Cast as autocast would, since it does not reach inside the autograd function.
    maps = [levels[i].to(total.dtype) for i in coarse]
    parts = [*maps, *(weights[i].to(total.dtype) for i in coarse)]
    largest = max(x[:, 0].numel() for x in maps) * conv.weight[:, 0].numel()
    if total.device.type == 'cpu' and largest > _CHUNK:
        return _AddCoarse.apply(total.contiguous(), bool(align_corners), *parts)
    for x, weight in zip(parts, parts[len(maps) :], strict=False):
        total = _add_at_once(total, x, weight, bool(align_corners))
    return total


def _pays(x: Tensor, size: Sequence[int], k: int) -> bool:
    """True if a level costs less at its own resolution than resized.

    By multiplications an output channel, of which those in matrix products cost more.
    """
    _, C, h, w = x.shape
    H, W = size
    own = k * k * C * h * w + _PRODUCT_COST * (k * k * h * w * W + k * h * H * W)
    return own < k * k * C * H * W


def _add_at_once(
    total: Tensor, x: Tensor, weight: Tensor, align_corners: bool
) -> Tensor:
    """Add the contribution of a coarse level, for all images at once.

    Needs less memory than upstream's way: 3.75 values per channel and pixel against 7.
    """
    B, C, h, w = x.shape
    O, _, k, _ = weight.shape  # noqa: E741
    _, _, H, W = total.shape
    across, down = _shifted(x, (H, W), k, align_corners)
    taps = weight.permute(0, 2, 3, 1).reshape(O * k * k, C, 1, 1)
    y = F.conv2d(x, taps).view(B, O, k, k, h, w)  # output, row and column of the kernel
    y = y.transpose(3, 4).reshape(-1, k * w) @ across.T
    total, y = total.reshape(B * O, H, W), y.view(B * O, k * h, W)
    return torch.baddbmm(total, down.expand(B * O, -1, -1), y).view(B, O, H, W)


def _cat(parts: Sequence[Tensor]) -> Tensor:
    """Concatenate channels, without the copy that ``torch.cat`` makes of one part."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


class _AddCoarse(torch.autograd.Function):
    """Add the contributions of coarse levels on a CPU, in chunks of output channels.

    The taps, up to nine times the size of a level, are never in memory as a whole.
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
                across, down = _shifted(x, size, k, align_corners)
                columns = across.split(w, dim=1)
                # The order (column, output, row) of taps avoids copies.
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
                across, down = _shifted(x, size, k, ctx.align_corners)
                z = down.T.expand(len(weight), -1, -1) @ grad[i, outputs]
                z = z.view(-1, size[1])
                y = torch.stack([z @ column for column in across.split(w, dim=1)])
                y = y.view(-1, h * w)
                grads[n][i].flatten(1).add_(_product(_taps(weight).T, y))
                taps = _product(y, x[i].flatten(1).T).view(k, len(weight), k, -1)
                grads[levels + n][outputs] += taps.permute(1, 3, 2, 0)
        return grad, None, *grads


def _chunks(total: Tensor, parts: Sequence[Tensor]) -> Iterator[tuple[int, slice, int]]:
    """Yield image, output channels and level of each chunk, in order."""
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
    """Compute ``a @ b`` as a 1x1 convolution, with the rows of ``a`` as pixels.

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
    """Reshape a weight (O, C, k, k) to a matrix of taps, of shape (k * O * k, C)."""
    return weight.permute(3, 0, 2, 1).reshape(-1, weight.shape[1])


def _shifted(
    x: Tensor, size: tuple[int, ...], k: int, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Return k shifted matrices side by side: (W, k * w) across, (H, k * h) down."""
    which = (k, align_corners, x.dtype, x.device)
    across = shifted_matrices(x.shape[3], size[1], *which)
    return across, shifted_matrices(x.shape[2], size[0], *which)
