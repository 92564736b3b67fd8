"""3x3 convolutions with a quarter of the multiplications.

Winograd's minimal filtering F(4x4, 3x3), as Lavin and Gray apply it to networks
(arXiv 1509.09308): 36 products for 16 outputs, where the direct way takes 144. With
their matrices, for a tile ``d`` of the input and a kernel ``g``,

    y = A^T [(G g G^T) * (B^T d B)] A

Summed over channels, the products in the middle are 36 products of matrices.

Shapes: ``B`` images, ``C`` input and ``O`` output channels, ``P`` tiles at a time, of
``R`` rows of ``t`` tiles.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmcosub.losses.first_derivative import first_derivative_only

# Tiles at a time, so that their transforms stay in the cache.
_TILES = 256
# Below these, the direct way was faster: 512 channels at 32x32 take 1.04 times as long,
# at 64x64 0.6 times and at 128x128 0.5 times, forward and backward.
_LEAST_CHANNELS = 256
_LEAST_TILES = 256

_INPUT = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_KERNEL = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_OUTPUT = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]


def can_winograd(x: Tensor, weight: Tensor) -> bool:
    """Whether :func:`winograd_conv` is for such a convolution, and faster.

    Args:
        x (Tensor): Of shape (B, C, H, W).
        weight (Tensor): Of shape (O, C, k, k), for stride 1 and "same" padding.
    """
    tiles = len(x) * -(-x.shape[2] // 4) * -(-x.shape[3] // 4)
    return (
        x.device.type == 'cpu'
        and weight.shape[-1] == 3
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled('cpu')
        and min(weight.shape[:2]) >= _LEAST_CHANNELS
        and tiles >= _LEAST_TILES
    )


def winograd_conv(x: Tensor, weight: Tensor) -> Tensor:
    """What ``F.conv2d(x, weight, padding=1)`` computes, on a CPU.

    It can be differentiated once. In float32 it is off by up to 1e-5 of the largest
    output, some ten times as much as the direct way.

    Args:
        x (Tensor): Of shape (B, C, H, W).
        weight (Tensor): Of shape (O, C, 3, 3), in the type of ``x``.

    Returns:
        Tensor: Of shape (B, O, H, W), channels last in memory.
    """
    return _Winograd.apply(x, weight)


class _Matrices(NamedTuple):
    input: Tensor
    kernel: Tensor
    output: Tensor


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _matrices(dtype: torch.dtype) -> _Matrices:
    return _Matrices(
        *(torch.tensor(m, dtype=dtype) for m in (_INPUT, _KERNEL, _OUTPUT))
    )


def _along_both(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply (a, b) along the first two dimensions, (b, b, n) to (a, a, n)."""
    x = (matrix @ x.reshape(len(x), -1)).view(len(matrix), x.shape[1], -1)
    return matrix @ x


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        matrices = _matrices(x.dtype)
        kernels = _kernels(weight, matrices)
        H, W = x.shape[2:]
        out = x.new_empty(len(x), *_whole(H, W), len(weight))
        for tiles, to in zip(_tiles(x, matrices), _bands(out, 4), strict=True):
            y = torch.bmm(tiles, kernels.mT).view(6, 6, -1)
            to.copy_(_along_both(matrices.output, y).view(to.shape))
        # Detached, as a view could not be changed in place behind this function.
        return out[:, :H, :W].permute(0, 3, 1, 2).detach()

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        matrices = _matrices(x.dtype)
        kernels = _kernels(weight, matrices)
        B, C, H, W = x.shape
        height, width = _whole(H, W)
        grad = F.pad(grad, (0, width - W, 0, height - H))
        grad = grad.permute(0, 2, 3, 1).contiguous()
        grad_x = x.new_zeros(B, height + 2, width + 2, C)
        grad_kernels = torch.zeros_like(kernels)
        bands = _bands(grad, 4), _bands(grad_x, 6)
        for tiles, y, to in zip(_tiles(x, matrices), *bands, strict=True):
            y = _along_both(matrices.output.T, y.reshape(4, 4, -1))
            y = y.view(36, -1, len(weight))
            grad_kernels.baddbmm_(y.mT, tiles)
            d = torch.bmm(y, kernels).view(6, 6, -1)
            d = _along_both(matrices.input.T, d).view(to.shape)
            # Tiles of 6 places that are 4 apart overlap, by parts of 4 and of 2.
            for i in (slice(0, 4), slice(4, 6)):
                for j in (slice(0, 4), slice(4, 6)):
                    to[i, j] += d[i, j]
        grad_x = grad_x[:, 1 : H + 1, 1 : W + 1].permute(0, 3, 1, 2)
        grad_weight = _along_both(matrices.kernel.T, grad_kernels.view(6, 6, -1))
        return grad_x, grad_weight.view(3, 3, -1, C).permute(2, 3, 0, 1)


def _whole(height: int, width: int) -> tuple[int, int]:
    """The size in whole tiles."""
    return -(-height // 4) * 4, -(-width // 4) * 4


def _kernels(weight: Tensor, matrices: _Matrices) -> Tensor:
    """Of shape (36, O, C)."""
    kernels = weight.permute(2, 3, 0, 1).reshape(3, 3, -1)
    return _along_both(matrices.kernel, kernels).view(36, *weight.shape[:2])


def _tiles(x: Tensor, matrices: _Matrices) -> Iterator[Tensor]:
    """Transformed tiles of the input, band by band, of shape (36, P, C)."""
    C, H, W = x.shape[1:]
    height, width = _whole(H, W)
    # The convolution's padding of 1 all round, and what is missing to whole tiles.
    around = (0, 0, 1, width - W + 1, 1, height - H + 1)
    for band in _bands(F.pad(x.permute(0, 2, 3, 1), around), 6):
        yield _along_both(matrices.input, band.reshape(6, 6, -1)).view(36, -1, C)


def _bands(x: Tensor, side: int) -> Iterator[Tensor]:
    """Tiles of maps (B, H, W, C), 4 places apart: views of (side, side, R, t, C)."""
    down, across = ((size - side) // 4 + 1 for size in x.shape[1:3])
    together = max(_TILES // across, 1)
    _, row, column, channel = x.stride()
    for image in x:
        for first in range(0, down, together):
            yield image.as_strided(
                (side, side, min(together, down - first), across, x.shape[3]),
                (row, column, 4 * row, 4 * column, channel),
                image.storage_offset() + 4 * first * row,
            )
