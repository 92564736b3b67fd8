"""A 3x3 convolution over levels that would be upsampled and concatenated, for less.

Shapes: ``B`` images, ``C`` input and ``O`` output channels, ``h, w`` a level's own and
``H, W`` the common resolution.

A convolution over concatenated levels is the sum of one convolution a level. A tap of a
3x3 convolution is a 1x1 convolution of a shifted map, and a 1x1 convolution commutes
with bilinear resizing and shifting, as these act on every channel alike. So all nine
taps of a coarse level are applied at its own resolution, on h*w places instead of H*W;
resizing and shifting are one matrix product along each axis, with the interpolation
matrix shifted by -1, 0 and 1 row and zeros outside, which is the convolution's padding.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def can_fuse(conv: nn.Module) -> bool:
    """Whether a convolution is of the kind that :func:`fused_conv` computes.

    Args:
        conv (nn.Module): The convolution.
    """
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.stride == (1, 1)
        and conv.padding == (1, 1)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == 'zeros'
        and not conv._forward_hooks
        and not conv._forward_pre_hooks
        and not hasattr(conv, 'parametrizations')
    )


def fused_conv(
    conv: nn.Conv2d,
    levels: Sequence[Tensor],
    size: tuple[int, int],
    align_corners: bool | None,
) -> Tensor:
    """What ``conv(cat([resize(x, size) for x in levels], dim=1))`` computes.

    Args:
        conv (nn.Conv2d): 3x3, for which :func:`can_fuse` holds.
        levels (Sequence[Tensor]): Of shape (B, C, h, w) each, C and h, w their own.
        size (tuple[int, int]): H and W.
        align_corners (bool, optional): As of ``F.interpolate``.

    Returns:
        Tensor: Of shape (B, O, H, W).
    """
    weights = conv.weight.split([x.shape[1] for x in levels], dim=1)
    fine = [i for i, x in enumerate(levels) if tuple(x.shape[2:]) == tuple(size)]
    if fine:
        x = torch.cat([levels[i] for i in fine], dim=1)
        weight = torch.cat([weights[i] for i in fine], dim=1)
        total = F.conv2d(x, weight, conv.bias, padding=1)
    else:
        bias = 0.0 if conv.bias is None else conv.bias[:, None, None]
        total = conv.weight.new_zeros(()) + bias
    for i, x in enumerate(levels):
        if i not in fine:
            total = total + _coarse(x, weights[i], size, bool(align_corners))
    return total


def _coarse(
    x: Tensor, weight: Tensor, size: tuple[int, int], align_corners: bool
) -> Tensor:
    """The part of one coarse level, of shape (B, O, H, W)."""
    batch, channels, height, width = x.shape
    outputs = len(weight)
    # All nine taps as one 1x1 convolution, ordered (O, row of the tap, its column).
    taps = weight.permute(0, 2, 3, 1).reshape(outputs * 9, channels, 1, 1)
    y = F.conv2d(x, taps).view(batch, outputs, 3, 3, height, width)
    y = y.transpose(3, 4).reshape(batch, outputs, 3 * height, 3 * width)
    across = _shifted(width, size[1], align_corners, y.dtype, y.device)
    down = _shifted(height, size[0], align_corners, y.dtype, y.device)
    return down @ (y @ across.T)


@lru_cache(maxsize=256)  # on the device, so that no forward has to wait for a copy
@torch.inference_mode(False)
@torch.no_grad()
def _shifted(
    source: int,
    target: int,
    align_corners: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Interpolation matrices shifted by -1, 0 and 1, side by side.

    Of shape (target, 3 * source): what the three taps along one axis see of a line of
    ``source`` places that is resized to ``target`` and padded with zeros.
    """
    unit = torch.eye(source, dtype=torch.float64)[None]
    resize = F.interpolate(
        unit, size=target, mode='linear', align_corners=align_corners
    )
    matrix = F.pad(resize[0].T, (0, 0, 1, 1))  # a row of zeros before and behind
    shifted = torch.cat([matrix[i : i + target] for i in range(3)], dim=1)
    return shifted.to(device, dtype)
